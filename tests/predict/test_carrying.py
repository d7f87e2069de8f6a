"""Chunks that ``PredictChunks`` carries over into its next bundle: busy slots, the order, and nothing emitted twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.fake_model import Call, FakeModel, doubled, serving, signature
from tests.predict.test_dofn import Guard, chunk_of, offsets
from tests.predict.test_new_signature import CHUNK, OLD, RECORDS, Upgraded, answers, records
from transforms.errors import ScoringError
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.stages import DecodeAgain, DecodeChunks, DecodeConfig
from transforms.types import Answer, KafkaRecord, PredictedChunk

SLOTS = 4


class Held:
    """A model that answers when the test says so, the oldest request first; or all at once."""

    def __init__(self) -> None:
        self.model = FakeModel(self.behave)
        self.busy: list[int] = []
        self.open = False
        self._waiting: list[asyncio.Event] = []
        self._answered: list[asyncio.Event] = []  # which the loop has not seen yet
        self._came = threading.Condition()

    async def behave(self, call: Call) -> Answer:
        with self._came:
            self._came.notify_all()
        if not self.open:
            event = asyncio.Event()
            self._waiting.append(event)
            await event.wait()
            if event in self._answered:
                self._answered.remove(event)
        return await doubled(call)

    def wait_for(self, in_flight: int) -> None:
        """Waits until so many requests have come to the model: they are sent in another thread."""
        with self._came:
            assert self._came.wait_for(lambda: self.model.in_flight == in_flight, 60), self.model.in_flight

    def answer(self, asked: int = 0) -> bool:
        """Answers the oldest request, and notes how many were in flight until then.

        None while the answer before is on its way: on a busy machine the question comes twice before the loop has run.
        """
        self.busy.append(self.model.in_flight)
        if self._waiting and not self._answered:
            self._answered.append(self._waiting.pop(0))
            self._answered[-1].set()
        return True

    def answer_all(self, asked: int = 0) -> bool:
        self.open = True
        while self._waiting:
            self._waiting.pop(0).set()
        return True


class Carrier:
    """Allows it ``times`` times, once something was emitted. ``has``: whether the next bundle still has what was carried."""

    def __init__(self, times: int = 1_000, has: bool = True):
        self.times, self.has = times, has
        self.carried: list[list[int]] = []
        self.taken: list[object] = []
        self.emitted = 0

    def carry(self, records: Iterable[KafkaRecord]) -> object | None:
        if not self.emitted or len(self.carried) >= self.times:
            return None
        self.carried.append([record.offset for record in records])
        return len(self.carried)

    def take_over(self, carried: object) -> bool:
        self.taken.append(carried)
        return self.has


class Driver:
    """Calls the DoFn as a worker does, and tells the carrier what has come out, as the sink would."""

    def __init__(self, uri: str, model: FakeModel, guard: Guard, carrier: Carrier):
        dispatch = DispatchOptions(retry=RetryPolicy(0.01, 0.001, 0.001), max_in_flight=SLOTS)
        config = PredictConfig(uri, model.metadata, dispatch=dispatch, batch_max_size=2)
        self.fn = PredictChunks(config, guard, 0.001, carrier=carrier)
        self.carrier = carrier
        self.fn.setup()

    def bundle(self, *chunks: list[float]) -> list[list[int]]:
        """One bundle; the offsets of what it has emitted, by chunk."""
        self.carrier.emitted = 0
        found: list[PredictedChunk] = []
        self.fn.start_bundle()
        for chunk in chunks:
            for predicted in self.fn.process(chunk_of(*chunk)):
                found.append(predicted)
                self.carrier.emitted += 1
        for windowed in self.fn.finish_bundle():
            found.append(windowed.value)
            self.carrier.emitted += 1
        return offsets(found)


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []
    contexts: list[Any] = []

    def make(model: FakeModel, answer: Callable[[int], bool], carrier: Carrier) -> Driver:
        contexts.append(serving(model))
        drivers.append(Driver(contexts[-1].__enter__(), model, Guard(answer), carrier))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.fn.teardown()
    for context in contexts:
        context.__exit__(None, None, None)


def pairs(first: int, count: int) -> list[list[float]]:
    """Chunks of one full batch each."""
    return [[2 * number, 2 * number + 1] for number in range(first, first + count)]


def test_the_slots_stay_busy_over_the_ends_of_bundles(drive: Callable[..., Driver]) -> None:
    """Whenever an answer comes, all slots are in use, in each of ten bundles: nobody waits for a bundle's last answers.

    Each bundle reads as much as is answered in it, as the source does where reading has to wait.
    """
    held, carrier = Held(), Carrier()
    driver = drive(held.model, held.answer, carrier)
    read = 3 * SLOTS
    found = driver.bundle(*pairs(0, read))
    for _ in range(9):
        for _ in range(SLOTS - 1):  # while the bundle is committed and the next one begins, the server answers
            held.answer()
            driver.fn._requests.turn()  # type: ignore[union-attr]
        answered = len(held.busy) + 2 * SLOTS - read
        found += driver.bundle(*pairs(read, answered))
        read += answered
    assert len(carrier.carried) == 10
    assert set(held.busy) == {SLOTS}
    held.answer_all()
    carrier.times = 0
    found += driver.bundle()
    assert [offset for chunk in found for offset in chunk] == list(range(2 * read))
    assert len(held.model.calls) == read, "each asked for once"


def test_without_a_carrier_the_slots_run_empty_at_each_end(drive: Callable[..., Driver]) -> None:
    held = Held()
    driver = drive(held.model, held.answer, Carrier(times=0))
    assert len(driver.bundle(*pairs(0, 3 * SLOTS))) == 3 * SLOTS
    assert held.busy[-1] < SLOTS
    assert held.model.in_flight == 0


def test_what_is_carried_leaves_first_in_the_next_bundle(drive: Callable[..., Driver]) -> None:
    held, carrier = Held(), Carrier(times=1)
    driver = drive(held.model, held.answer, carrier)
    first = driver.bundle(*pairs(0, 6))
    assert first[0] == [0, 1]
    assert carrier.carried == [[offset for offset in range(12) if [offset & ~1, offset | 1] not in first]]
    held.answer_all()
    assert first + driver.bundle([12]) == [[2 * n, 2 * n + 1] for n in range(6)] + [[12]]
    assert carrier.taken == [1]


def test_the_time_between_two_bundles_counts_into_no_deadline(drive: Callable[..., Driver]) -> None:
    """Nobody hears what is answered while a bundle is committed, however long that takes."""
    held, carrier = Held(), Carrier(times=1)
    driver = drive(held.model, held.answer, carrier)
    driver.bundle(*pairs(0, 6))
    clock = driver.fn._clock
    assert carrier.carried
    assert clock() == clock(), "it stands still"
    driver.fn.start_bundle()
    began = clock()
    while clock() == began:  # a turn of the clock, not a wait
        pass
    held.answer_all()
    list(driver.fn.finish_bundle())


def test_a_bundle_without_records_of_its_own_answers_what_is_carried(drive: Callable[..., Driver]) -> None:
    held, carrier = Held(), Carrier(times=1)
    driver = drive(held.model, held.answer, carrier)
    first = driver.bundle(*pairs(0, 6))
    held.answer_all()
    assert first + driver.bundle() == [[2 * n, 2 * n + 1] for n in range(6)]
    assert driver.bundle() == []
    assert carrier.taken == [1]


def test_a_bundle_that_has_emitted_nothing_waits_for_its_oldest_answer(drive: Callable[..., Driver]) -> None:
    held, carrier = Held(), Carrier()
    asked = 0

    def late(_: int) -> bool:
        nonlocal asked
        asked += 1
        return held.answer() if asked > 5 else True

    assert drive(held.model, late, carrier).bundle(*pairs(0, 6))[0] == [0, 1]
    assert asked > 5


def test_rows_that_wait_for_a_full_batch_are_sent_before_they_are_carried(drive: Callable[..., Driver]) -> None:
    held, carrier = Held(), Carrier(times=1)
    driver = drive(held.model, held.answer, carrier)
    first = driver.bundle([0, 1], [2])
    assert (first, carrier.carried) == ([[0, 1]], [[2]])
    held.wait_for(1)


@pytest.mark.parametrize("reads", [[], [[20, 21]]], ids=["an empty bundle", "one with records"])
def test_what_was_rolled_back_is_forgotten_and_its_requests_cancelled(
    drive: Callable[..., Driver], reads: list[list[float]]
) -> None:
    """The source reads it again; to emit it as well would double it."""
    held, carrier = Held(), Carrier(times=1, has=False)
    driver = drive(held.model, held.answer, carrier)
    left = 6 - len(driver.bundle(*pairs(0, 6)))
    held.wait_for(min(left, SLOTS))
    held.open = True
    assert driver.bundle(*reads) == reads
    assert held.model.cancelled == min(left, SLOTS) > 0
    assert held.model.in_flight == 0


def test_a_bundle_that_fails_leaves_nothing_of_what_it_took_over(drive: Callable[..., Driver]) -> None:
    """Another stage raised: finish_bundle is never called, and all of it is read again."""
    held, carrier = Held(), Carrier(times=1)
    driver = drive(held.model, held.answer, carrier)
    driver.bundle(*pairs(0, 6))
    driver.fn.start_bundle()
    list(driver.fn.process(chunk_of(12, 13)))
    held.open = True
    assert driver.bundle([0, 1]) == [[0, 1]]
    assert held.model.in_flight == 0


def test_a_bundle_that_is_given_up_carries_nothing(drive: Callable[..., Driver]) -> None:
    held, carrier, alive = Held(), Carrier(times=1), True
    driver = drive(held.model, lambda asked: alive and held.answer(), carrier)
    found = driver.bundle(*pairs(0, 6))
    assert len(carrier.carried) == 1
    alive = False
    found += driver.bundle()
    assert found == pairs(0, 6)[: len(found)] != pairs(0, 6), "what was answered by then"
    assert (len(carrier.carried), held.model.in_flight) == (1, 0)
    held.open = True
    assert driver.bundle([0, 1]) == [[0, 1]]


def test_an_error_of_a_carried_request_is_raised_in_the_next_bundle(drive: Callable[..., Driver]) -> None:
    held = Held()

    async def broken(call: Call) -> Answer:
        if call.number == 2:
            await held.behave(call)
            raise MemoryError
        return await held.behave(call)

    held.model.behaviour = broken
    driver = drive(held.model, held.answer, Carrier(times=1))
    driver.bundle(*pairs(0, 6))
    with pytest.raises((MemoryError, ScoringError)):
        driver.bundle()


def test_chunks_that_are_carried_begin_anew_for_a_new_signature() -> None:
    """The model changes between two bundles, and the server refuses what is carried: it is decoded again, in its place."""
    upgraded, gate, config = Upgraded(signature((-1, 1), "float64"), 8), asyncio.Event(), DecodeConfig(OLD)

    async def behave(call: Call) -> Answer:
        if call.number >= 8:
            await gate.wait()
        return await upgraded.behave(call)

    upgraded.model.behaviour = behave
    decode, carrier = DecodeChunks(config), Carrier(times=1)
    decode.setup()
    with serving(upgraded.model) as uri:
        dispatch = DispatchOptions(10, RetryPolicy(0.05, 0.001, 0.005), "fail", SLOTS)
        predict_config = PredictConfig(uri, upgraded.built_for, dispatch=dispatch, batch_max_size=CHUNK)
        predict = PredictChunks(predict_config, make_decoder=DecodeAgain(config), carrier=carrier)
        predict.setup()
        try:
            predict.start_bundle()
            first = [p for chunk in records(("x",)) for d in decode.process(chunk) for p in predict.process(d)]
            carrier.emitted = 1
            first += [windowed.value for windowed in predict.finish_bundle()]
            assert carrier.carried == [list(range(len(first) * CHUNK, RECORDS))] != [[]]
            gate.set()
            predict.start_bundle()
            rest = [windowed.value for windowed in predict.finish_bundle()]
        finally:
            predict.teardown()
            decode.teardown()
    found = answers(first + rest)
    assert [offset for offset, _, _ in found] == list(range(RECORDS))
    assert {version for _, version, _ in found[len(first) * CHUNK :]} == {"8"}
