"""``PredictChunks``: the DoFn that scores chunks, with many requests in flight and the order of the input kept.

Requests start while the bundle is still read. A chunk is emitted as soon as it and all chunks before it are complete, at the
latest in ``finish_bundle``. So the order of the input is kept, and a bundle is a barrier: it emits all of its outcomes
itself.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.guard import CHECK_S, BundleGuard, NoGuard
from transforms.observe import reporting_failures
from transforms.predict.batching import Batch, Batcher, PendingChunk, batch_size
from transforms.predict.dispatch import Dispatcher, DispatchOptions
from transforms.predict.request_loop import Requests
from transforms.types import DecodedChunk, ModelMetadata, PredictedChunk

AHEAD = 64
"""Most batches in flight or waiting for a slot. Above this, reading waits, so that records are still in the processor's
cache when they are encoded."""


@dataclasses.dataclass(frozen=True, slots=True)
class PredictConfig:
    """The model to score with, and the options of its requests.

    Attributes:
        uri: The model's URI.
        model: The model's metadata, as the server gave it.
        client: Options of the client.
        dispatch: Retries, time-outs, requests in flight.
        batch_max_size: Most rows of a request.
    """

    uri: str
    model: ModelMetadata
    client: ClientOptions = dataclasses.field(default_factory=ClientOptions)
    dispatch: DispatchOptions = dataclasses.field(default_factory=DispatchOptions)
    batch_max_size: int = 64


class PredictChunks(beam.DoFn):
    """``DecodedChunk`` in, ``PredictedChunk`` out, in the same order.

    Args:
        config: The model and how to ask it.
        guard: Keeps the source alive while a bundle waits.
        check_s: How often it is asked to.
    """

    def __init__(self, config: PredictConfig, guard: BundleGuard | None = None, check_s: float = CHECK_S):
        self._config, self._check_s = config, check_s
        self._guard: BundleGuard = guard or NoGuard()
        self._requests: Requests | None = None
        self._ahead = max(AHEAD, 2 * (config.dispatch.max_in_flight or 0))

    def setup(self) -> None:
        """Makes the client. Opens no connection."""
        self._requests = Requests(_open(self._config))

    def start_bundle(self) -> None:
        """Cancels requests of a bundle that failed, and starts empty."""
        assert self._requests is not None
        self._requests.cancel()
        self._requests.turn()  # lets the loop notice connections that the server has closed
        model = self._config.model
        self._batcher = Batcher(batch_size(model.signature, self._config.batch_max_size, model.max_rows))
        self._order: collections.deque[PendingChunk] = collections.deque()
        self._void = False
        self._check_at = time.monotonic() + self._check_s

    def process(self, decoded: DecodedChunk) -> Iterator[PredictedChunk]:
        """Sends the batches that are full; yields the chunks that are complete."""
        assert self._requests is not None
        if self._void:
            return
        pending = PendingChunk.of(decoded)
        self._order.append(pending)
        self._requests.send([batch for segment in decoded.segments for batch in self._batcher.add(pending, segment)])
        self._settle(self._requests.take(0))
        yield from self._complete()
        while self._requests.in_flight > self._ahead:
            if not self._wait():
                return
            yield from self._complete()

    def finish_bundle(self) -> Iterator[Any]:
        """Sends the rest and waits for every answer."""
        assert self._requests is not None
        if self._void:
            return
        self._requests.send(self._batcher.flush())
        while self._requests.in_flight:
            if not self._wait():
                return
            for chunk in self._complete():
                yield WindowedValue(chunk, MIN_TIMESTAMP, (GlobalWindow(),))
        for chunk in self._complete():  # chunks whose records all failed to decode
            yield WindowedValue(chunk, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        """Closes the client."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None

    def _wait(self) -> bool:
        """Waits for some results; returns whether the bundle can still be committed."""
        assert self._requests is not None
        self._settle(self._requests.take(self._check_s))
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self._check_s
            if not self._guard.keep_alive():
                self._requests.cancel()
                self._void = True
        return not self._void

    def _settle(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.error is not None:
                assert self._requests is not None
                self._requests.cancel()
                with reporting_failures():
                    raise batch.error
            batch.settle()

    def _complete(self) -> Iterator[PredictedChunk]:
        while self._order and self._order[0].waiting == 0:
            yield self._order.popleft().chunk
            if self._requests is not None and self._requests.in_flight:
                self._requests.turn()  # encoding and writing the chunk took time: serve the sockets


async def _open(config: PredictConfig) -> Dispatcher:
    return Dispatcher(open_client(config.uri, config.client), config.model.signature, config.dispatch)
