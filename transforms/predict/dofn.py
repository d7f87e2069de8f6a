"""``PredictChunks``: the DoFn that scores chunks, with many requests in flight and the order of the input kept.

Requests start while the bundle is still read. A chunk is emitted as soon as it and all chunks before it are complete, so the
order of the input is kept. ``finish_bundle`` waits for all answers, unless the carrier lets the chunks without one go over
into the next bundle: their requests then stay in flight while this bundle is committed and the next one is read.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ContractError
from transforms.guard import CHECK_S, BundleGuard, Carrier, Leaver, NoCarrier, NoGuard, NoLeaver
from transforms.memory import Memory
from transforms.observe import reporting_failures
from transforms.predict.batching import Batch, Batcher, PendingChunk, batch_size
from transforms.predict.contract import ChunkDecoder, ContractChangedError, MakeDecoder
from transforms.predict.dispatch import Dispatcher
from transforms.predict.leaving import NotAskedError
from transforms.predict.options import DispatchOptions
from transforms.predict.pace import pace_of
from transforms.predict.pausing_clock import PausingClock
from transforms.predict.request_loop import Requests
from transforms.tracing import Target
from transforms.types import DecodedChunk, ModelMetadata, PredictedChunk

log = logging.getLogger(__name__)

AHEAD = 64
"""So many batches may be in flight or wait for a slot, or twice as many as there are slots. Above this, reading waits, so
that records are still in the processor's cache when they are encoded."""

ASK_S = 5.0
"""How often the server is asked for its signature while records do not fit the known one, in seconds."""

LEAVE_HELD_S = 0.5
"""Seconds that a job with rate limits, when it stops, waits for requests to a server that is down: less than those after
which ``SessionGuard`` makes the bundle void."""

MISFITS = frozenset(it.error_class for it in (DeadLetterClass.FIELD_ERROR, DeadLetterClass.NPY_ERROR))
"""Classes of records that may fit another signature."""


@dataclasses.dataclass(frozen=True, slots=True)
class PredictConfig:
    """The model to score with, and the options of its requests.

    Attributes:
        uri: The model's URI.
        model: The model's metadata, as the server gave it.
        client: Options of the client.
        dispatch: Retries, time-outs, requests in flight.
        batch_max_size: Most rows of a request.
        memory: What the records in the process may take.
    """

    uri: str
    model: ModelMetadata
    client: ClientOptions = dataclasses.field(default_factory=ClientOptions)
    dispatch: DispatchOptions = dataclasses.field(default_factory=DispatchOptions)
    batch_max_size: int = 64
    memory: Memory = dataclasses.field(default_factory=Memory)


class PredictChunks(beam.DoFn):
    """``DecodedChunk`` in, ``PredictedChunk`` out, in the same order.

    Args:
        config: The model and how to ask it.
        guard: Keeps the source alive while a bundle waits.
        check_s: How often it is asked to.
        make_decoder: Decodes records again if the model's signature changes while the job runs; ``None``: hold then.
        carrier: Lets chunks without an answer go over into the next bundle.
        leaver: Lets records that wait for the rate limits be left when the job stops.
    """

    def __init__(
        self,
        config: PredictConfig,
        guard: BundleGuard | None = None,
        check_s: float = CHECK_S,
        make_decoder: MakeDecoder | None = None,
        carrier: Carrier | None = None,
        leaver: Leaver | None = None,
    ):
        self._config, self._check_s, self._make_decoder = config, check_s, make_decoder
        self._look_s = config.dispatch.look_s or float("inf")
        self._model = config.model
        self._decoder: ChunkDecoder | None = None  # once the signature has changed
        self._guard: BundleGuard = guard or NoGuard()
        self._carrier: Carrier = carrier or NoCarrier()
        self._leaver: Leaver = leaver or NoLeaver()
        self._leaving_since: float | None = None
        self._requests: Requests | None = None

    def setup(self) -> None:
        """Makes the client. Opens no connection."""
        target = Target(self._config.model.model, self._config.uri)
        self._clock = PausingClock()
        self._requests = Requests(_open(self._config, self._make_decoder is not None, self._clock), target)
        self._look_at = time.monotonic() + self._look_s
        self._ask_at = 0.0
        self._order: collections.deque[PendingChunk] = collections.deque()
        self._carried: object | None = None

    def start_bundle(self) -> None:
        """Keeps what the bundle before has carried over. Else cancels requests of a bundle that failed, and starts empty."""
        assert self._requests is not None
        self._clock.go_on()
        self._inherited, self._carried = self._carried, None
        if self._inherited is None:
            self._forget()
        self._requests.turn()  # lets the loop notice connections that the server has closed
        self._batcher = self._new_batcher()
        self._void, self._any = False, self._inherited is not None
        self._check_at = time.monotonic() + self._check_s

    def process(self, decoded: DecodedChunk) -> Iterator[PredictedChunk]:
        """Sends the batches that are full; yields the chunks that are complete."""
        assert self._requests is not None
        self._any = True
        self._take_over()
        if self._void:
            return
        fitting = self._fitting(decoded)
        if fitting is None:
            self._give_up()
            return
        pending = PendingChunk.of(fitting)
        self._order.append(pending)
        self._requests.send(self._batches_of(pending))
        self._settle(self._requests.take(0))
        yield from self._complete()
        while self._is_full():
            if self._holds_too_much():  # what waits for a full batch, of a rare shape or window, keeps all chunks behind it
                self._requests.send(self._batcher.flush())
            if not self._wait():
                return
            yield from self._complete()

    def finish_bundle(self) -> Iterator[Any]:
        """Sends the rest, and waits for every answer, or until what has none may go over into the next bundle."""
        assert self._requests is not None
        self._take_over()
        if self._any:
            self._look_at = time.monotonic() + self._look_s
        elif time.monotonic() >= self._look_at:  # the source has read nothing
            self._look_at = time.monotonic() + self._look_s
            self._requests.look()
        self._settle(self._requests.take(0))
        while not self._void:
            if rest := self._batcher.flush():  # also of chunks that were begun anew
                self._requests.send(rest)
            for chunk in self._complete():
                yield WindowedValue(chunk, MIN_TIMESTAMP, (GlobalWindow(),))
            if not self._requests.in_flight or self._carry():
                break
            self._wait()
        if not self._void and self._carried is None:
            for chunk in self._left():
                yield WindowedValue(chunk, MIN_TIMESTAMP, (GlobalWindow(),))

    def teardown(self) -> None:
        """Closes the client."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _carry(self) -> bool:
        """Returns whether the chunks that are not complete go over into the next bundle."""
        self._carried = self._carrier.carry(record for pending in self._order for record in pending.decoded.records)
        if self._carried is None:
            return False
        self._clock.pause()
        return True

    def _left(self) -> Iterator[PredictedChunk]:
        """Leaves what was not asked for, because the job stops, from the first such record on; yields what is before it."""
        left: list[Any] = []
        while self._order:
            pending = self._order.popleft()
            if not left and (done := pending.first_answered()).records:
                left += pending.decoded.records[len(done.records) :]
                yield done
            else:
                left += pending.decoded.records
        if left and not self._leaver.leave(left):
            self._void = True

    def _take_over(self) -> None:
        """Goes on with the chunks that were carried over, unless they are read again. Once a bundle.

        Not in ``start_bundle``: the source begins after that, and only then it is known whether they were rolled back.
        """
        inherited, self._inherited = self._inherited, None
        if inherited is not None and not self._carrier.take_over(inherited):
            self._forget()

    def _forget(self) -> None:
        assert self._requests is not None
        self._requests.cancel()
        self._order.clear()

    def _wait(self) -> bool:
        """Waits for some results; returns whether the bundle can still be committed."""
        assert self._requests is not None
        if self._leaver.stops():
            self._leaving_since = self._leaving_since or time.monotonic()
            self._requests.leave()
        self._settle(self._requests.take(self._check_s))
        if self._waits_in_vain():
            self._requests.cancel()  # what was answered can still be committed
        elif time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self._check_s
            if not self._guard.keep_alive(self._requests.holding):
                self._give_up()
        return not self._void

    def _waits_in_vain(self) -> bool:
        """Whether the job stops, and requests in flight are to be left, too, as those that wait to be made are already."""
        if self._leaving_since is None or self._config.dispatch.limits.off:
            return False
        assert self._requests is not None
        return self._requests.holding and time.monotonic() - self._leaving_since >= LEAVE_HELD_S

    def _is_full(self) -> bool:
        """Whether reading has to wait: for requests, if many are in flight or the chunks that wait are large."""
        assert self._requests is not None
        if not self._requests.in_flight:
            return False
        ahead = max(AHEAD, 2 * self._requests.limit)  # which changes while reading waits
        return self._requests.in_flight > ahead or self._holds_too_much()

    def _holds_too_much(self) -> bool:
        return sum(pending.held_bytes for pending in self._order) > self._config.memory.in_flight

    def _settle(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if isinstance(batch.error, ContractChangedError):
                self._renew(batch.error)
                return  # the rows of the other batches are asked for again
            if isinstance(batch.error, NotAskedError):
                continue
            if batch.error is not None:
                assert self._requests is not None
                self._requests.cancel()
                with reporting_failures():
                    raise batch.error
            batch.settle()

    def _give_up(self) -> None:
        assert self._requests is not None
        self._requests.cancel()
        self._void = True

    def _new_batcher(self) -> Batcher:
        assert self._requests is not None
        size = self._config.batch_max_size
        most_rows = min(size, self._requests.most_rows or size)
        rows = batch_size(self._model.signature, most_rows, self._model.max_rows)
        return Batcher(rows, self._config.memory.request)

    def _batches_of(self, pending: PendingChunk) -> list[Batch]:
        return [batch for segment in pending.decoded.segments for batch in self._batcher.add(pending, segment)]

    def _fitting(self, decoded: DecodedChunk) -> DecodedChunk | None:
        """Returns the chunk for the model's present signature; ``None`` if the bundle can no longer be committed.

        Records that do not fit the signature may fit a new one, of which nothing else would tell: no request is refused.
        """
        assert self._requests is not None
        now = decoded if self._decoder is None else self._decoder.decode(decoded.records)
        if now is None or self._make_decoder is None or time.monotonic() < self._ask_at or not _has_misfits(now):
            return now
        changed = self._requests.changed()
        self._ask_at = time.monotonic() + ASK_S
        if changed is not None:
            self._renew(changed)
            if self._void:
                return None
            if self._model is changed.metadata and self._decoder is not None:
                return self._decoder.decode(decoded.records)
        return now

    def _renew(self, changed: ContractChangedError) -> None:
        """Begins anew with the chunks that are not complete: for the new signature, or as before if they do not fit it."""
        assert self._requests is not None
        assert self._make_decoder is not None
        self._requests.cancel()
        signature, chunks = changed.metadata.signature, [pending.decoded for pending in self._order if pending.waiting]
        decoder: ChunkDecoder | None = None
        try:
            decoder = self._make_decoder(signature)
            again = [decoder.decode(chunk.records) for chunk in chunks]
            misfit = next((why for pair in zip(chunks, again, strict=True) if (why := _misfit(*pair))), None)
        except ContractError as error:
            again, misfit = [], str(error)
        if misfit is not None:
            if decoder is not None:
                decoder.close()
            self._requests.decline(signature, misfit)
            fresh = chunks
        elif None in again:
            self._give_up()
            return
        else:
            log.warning("%s; the records fit it, and are decoded for it from now on", changed)
            if self._decoder is not None:
                self._decoder.close()
            self._decoder, self._model = decoder, changed.metadata
            self._requests.renew(changed.metadata)
            fresh = [chunk for chunk in again if chunk is not None]
        left = iter(fresh)
        self._order = collections.deque(PendingChunk.of(next(left)) if p.waiting else p for p in self._order)
        self._batcher = self._new_batcher()
        self._requests.send([batch for pending in self._order if pending.waiting for batch in self._batches_of(pending)])

    def _complete(self) -> Iterator[PredictedChunk]:
        while self._order and self._order[0].waiting == 0:
            yield self._order.popleft().chunk
            if self._requests is not None and self._requests.in_flight:
                self._requests.turn()  # encoding and writing the chunk took time: serve the sockets


def _has_misfits(chunk: DecodedChunk) -> bool:
    return any(failure.error_class in MISFITS for failure in chunk.failures.values())


def _misfit(before: DecodedChunk, now: DecodedChunk | None) -> str | None:
    """Returns why a row that fitted the former signature does not fit the new one; ``None`` if all do."""
    if now is None:
        return None
    return next((failure.message for row, failure in now.failures.items() if row not in before.failures), None)


async def _open(config: PredictConfig, renews: bool, clock: PausingClock) -> Dispatcher:
    def another() -> ModelClient:
        return open_client(config.uri, config.client)

    signature, pace = config.model.signature, pace_of(config.uri, config.dispatch.limits)
    return Dispatcher(another(), signature, config.dispatch, clock, open_another=another, renews=renews, pace=pace)
