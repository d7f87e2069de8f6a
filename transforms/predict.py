"""``Predict``: a RunInference-style DoFn with many requests in flight and ordered results.

Requests start while the bundle is still being read; a chunk's results leave as soon as it and all chunks before it are
complete, at the latest when the bundle ends. So the order of the input is kept, and a bundle is a barrier: all of its
outcomes leave in it.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from transforms.batching import Batch, Batcher, PendingChunk, batch_size
from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.dispatch import Dispatcher, DispatchOptions
from transforms.observe import telling_failures
from transforms.types import DecodedChunk, ModelMetadata, PredictedChunk

CHECK_S = 0.25
"""How often a bundle that waits for the server looks whether it is still worth waiting."""


WAKE_AT = 8
"""How many answered batches wake the thread that waits for them; the last ones do in any case."""


AHEAD = 64
"""How many batches may wait for their answers before reading waits, too: what is read is worked on while it is still in the
processor's cache, and the thread that talks to the server gets its turn."""


class BundleGuard(Protocol):
    """Keeps the source alive while a bundle waits for the model server; picklable."""

    def keep_alive(self) -> bool:
        """Called every ``CHECK_S`` while waiting.

        Returns:
            Whether the bundle can still be committed; if not, its requests are cancelled and nothing of it leaves.
        """


class NoGuard:
    """For sources that need no keeping alive."""

    def keep_alive(self) -> bool:
        """Waits on."""
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class PredictConfig:
    """Which model, and how to ask it.

    Attributes:
        uri: The model's URI.
        model: What the server said it serves.
        client: Options of the client.
        dispatch: Retries, time-outs, requests in flight.
        batch_max_size: Rows of a request at most.
    """

    uri: str
    model: ModelMetadata
    client: ClientOptions = dataclasses.field(default_factory=ClientOptions)
    dispatch: DispatchOptions = dataclasses.field(default_factory=DispatchOptions)
    batch_max_size: int = 64


class Requests:
    """An asyncio loop in a thread of its own, with one dispatcher. Call it from one thread.

    Waking a thread costs more than a request's own Python, so batches are handed over many at a time, in both directions.

    Args:
        config: The model and how to ask it.
    """

    def __init__(self, config: PredictConfig):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="requests", daemon=True)
        self._thread.start()
        self._in_flight = 0
        self._done: collections.deque[Batch] = collections.deque()
        self._enough = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered = 0  # of those tasks; several may end in one turn of the loop, before they are taken out of the set
        try:
            self._dispatcher = asyncio.run_coroutine_threadsafe(self._open(config), self._loop).result()
        except BaseException:
            self._end_loop()
            raise

    @property
    def in_flight(self) -> int:
        """How many batches were sent and not yet taken back."""
        return self._in_flight

    def send(self, batches: Sequence[Batch]) -> None:
        """Starts requests; the batches come back from ``take``."""
        if batches:
            self._in_flight += len(batches)
            self._loop.call_soon_threadsafe(self._start, batches)

    def take(self, timeout_s: float) -> list[Batch]:
        """Returns batches that are answered, in no order, waiting for some if ``timeout_s`` is above 0."""
        if timeout_s and len(self._done) < min(WAKE_AT, self._in_flight):
            self._enough.wait(timeout_s)
        self._enough.clear()
        taken = [self._done.popleft() for _ in range(len(self._done))]
        self._in_flight -= len(taken)
        return taken

    def cancel(self) -> None:
        """Cancels what is in flight and forgets what came back."""
        if self._in_flight:
            asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
            self._in_flight = 0
            self._done.clear()

    def close(self) -> None:
        """Ends the loop and its thread."""
        self.cancel()
        asyncio.run_coroutine_threadsafe(self._dispatcher.close(), self._loop).result(10)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if not self._thread.is_alive():
            self._loop.close()

    # ------------------------------------------------------------------ in the loop's thread

    async def _open(self, config: PredictConfig) -> Dispatcher:
        return Dispatcher(open_client(config.uri, config.client), config.model.signature, config.dispatch)

    def _start(self, batches: Sequence[Batch]) -> None:
        self._unanswered += len(batches)
        for batch in batches:
            task = self._loop.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: Batch) -> None:
        try:
            batch.outcomes = await self._dispatcher.answer(batch.inputs(), batch.rows)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits for the batch
            batch.error = error
        self._unanswered -= 1
        self._done.append(batch)
        if len(self._done) >= WAKE_AT or not self._unanswered or batch.error is not None:
            self._enough.set()

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._unanswered = 0


class PredictChunks(beam.DoFn):
    """``DecodedChunk`` in, ``PredictedChunk`` out, in the same order.

    Args:
        config: The model and how to ask it.
        guard: Keeps the source alive while a bundle waits.
    """

    def __init__(self, config: PredictConfig, guard: BundleGuard | None = None):
        self._config = config
        self._guard: BundleGuard = guard or NoGuard()
        self._requests: Requests | None = None
        self._ahead = max(AHEAD, 2 * (config.dispatch.max_in_flight or 0))

    def setup(self) -> None:
        """Starts the request loop; contacts nobody yet."""
        self._requests = Requests(self._config)

    def start_bundle(self) -> None:
        """Starts with nothing in flight, whatever became of the bundle before."""
        assert self._requests is not None
        self._requests.cancel()
        model = self._config.model
        self._batcher = Batcher(batch_size(model.signature, self._config.batch_max_size, model.max_rows))
        self._order: collections.deque[PendingChunk] = collections.deque()
        self._void = False
        self._check_at = time.monotonic() + CHECK_S

    def process(self, decoded: DecodedChunk) -> Iterator[PredictedChunk]:
        """Sends full batches; yields what is complete."""
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
        for chunk in self._complete():  # of records that all failed to decode
            yield WindowedValue(chunk, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        """Ends the request loop."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None

    def _wait(self) -> bool:
        """Waits for some answers; returns whether the bundle is still worth waiting for."""
        assert self._requests is not None
        self._settle(self._requests.take(CHECK_S))
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + CHECK_S
            if not self._guard.keep_alive():
                self._requests.cancel()
                self._void = True
        return not self._void

    def _settle(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.error is not None:
                assert self._requests is not None
                self._requests.cancel()
                with telling_failures():
                    raise batch.error
            batch.settle()

    def _complete(self) -> Iterator[PredictedChunk]:
        while self._order and self._order[0].waiting == 0:
            yield self._order.popleft().chunk
