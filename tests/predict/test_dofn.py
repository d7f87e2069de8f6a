"""``PredictChunks`` driven as Beam drives it: order, bundles that fail or are given up, and no thread left behind."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.fake_model import Behaviour, Call, FakeModel, doubled, serving
from transforms.errors import ScoringError, TransientError, UnavailableError
from transforms.guard import CHECK_S
from transforms.memory import Memory
from transforms.observe import Observer, observer, set_observer
from transforms.predict.dofn import AHEAD, PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.types import Answer, DecodedChunk, Failure, KafkaRecord, PredictedChunk, Segment

EMPTY = DecodedChunk([], [], {})


def chunk_of(*numbers: float, value: bytes = b"") -> DecodedChunk:
    records = [KafkaRecord("t", 0, int(number), None, None, value, []) for number in numbers]
    x = np.array([[number] for number in numbers], np.float32)
    return DecodedChunk(records, [Segment("key", range(len(numbers)), {"x": x})], {})


def offsets(chunks: list[PredictedChunk]) -> list[list[int]]:
    for chunk in chunks:
        for answer in chunk.answers:
            for row, y in zip(answer.rows, answer.outputs["y"], strict=True):
                assert y[0] == 2 * chunk.records[row].offset
    return [[record.offset for record in chunk.records] for chunk in chunks]


class Guard:
    """Says whether the bundle is still worth waiting for; counts how often it is asked."""

    def __init__(self, answers: Callable[[int], bool] = lambda _: True):
        self.asked = 0
        self.holding: list[bool] = []
        self._answers = answers

    def keep_alive(self, holding: bool = False) -> bool:
        self.asked += 1
        self.holding.append(holding)
        return self._answers(self.asked)


class Driver:
    """Calls a DoFn as a worker does."""

    def __init__(self, uri: str, model: FakeModel, guard: Guard | None = None, **options: Any):
        size, check_s = options.pop("batch_max_size", 2), options.pop("check_s", CHECK_S)
        make_decoder = options.pop("make_decoder", None)
        memory = options.pop("memory", Memory())
        dispatch = DispatchOptions(**{"retry": RetryPolicy(0.01, 0.001, 0.001), **options})
        config = PredictConfig(uri, model.metadata, dispatch=dispatch, batch_max_size=size, memory=memory)
        self.fn = PredictChunks(config, guard, check_s, make_decoder)
        self.fn.setup()

    def process(self, chunk: DecodedChunk) -> list[PredictedChunk]:
        return list(self.fn.process(chunk))

    def finish(self) -> list[PredictedChunk]:
        return [windowed.value for windowed in self.fn.finish_bundle()]

    def bundle(self, *chunks: DecodedChunk) -> list[PredictedChunk]:
        self.fn.start_bundle()
        early = [found for chunk in chunks for found in self.process(chunk)]
        return early + self.finish()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    """Makes drivers; they are torn down, and must leave no thread."""
    drivers: list[Driver] = []
    contexts: list[contextlib.AbstractContextManager[str]] = []

    def make(model: FakeModel, guard: Guard | None = None, **options: Any) -> Driver:
        context = serving(model, f"model{len(contexts)}")
        contexts.append(context)
        drivers.append(Driver(context.__enter__(), model, guard, **options))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.fn.teardown()
    for context in reversed(contexts):
        context.__exit__(None, None, None)
    assert [thread.name for thread in threading.enumerate() if thread.name == "requests"] == []


def last_first(count: int) -> Behaviour:
    """The answer to the last of ``count`` requests comes first, and so on backwards."""
    answered: dict[int, asyncio.Event] = {}

    async def behave(call: Call) -> Answer:
        number = call.number % count
        if number == 0:
            answered.clear()
            answered.update({i: asyncio.Event() for i in range(count)})
        if number < count - 1:
            await answered[number + 1].wait()
        answered[number].set()
        return await doubled(call)

    return behave


def test_results_leave_in_the_order_of_the_input_when_later_answers_come_first(drive: Callable[..., Driver]) -> None:
    driver = drive(FakeModel(last_first(5)))
    for _ in range(3):
        found = driver.bundle(chunk_of(0, 1), chunk_of(2, 3, 4), chunk_of(5), chunk_of(6, 7, 8, 9))
        assert offsets(found) == [[0, 1], [2, 3, 4], [5], [6, 7, 8, 9]]


def test_chunks_with_nothing_to_send_keep_their_place(drive: Callable[..., Driver]) -> None:
    failed = DecodedChunk([KafkaRecord("t", 0, 9, None, None, None, [])], [], {0: Failure("decode", "Tombstone", "")})
    found = drive(FakeModel(last_first(2))).bundle(chunk_of(0, 1), failed, chunk_of(2, 3), EMPTY)
    assert offsets(found) == [[0, 1], [9], [2, 3], []]
    assert list(found[1].failures) == [0]


def test_what_is_complete_leaves_while_the_bundle_still_reads(drive: Callable[..., Driver]) -> None:
    driver = drive(FakeModel())
    driver.fn.start_bundle()
    found = driver.process(chunk_of(0, 1))
    stop_at = time.monotonic() + 60
    while not found and time.monotonic() < stop_at:
        found = driver.process(EMPTY)[:1]
    assert offsets(found) == [[0, 1]]


@pytest.mark.parametrize(("max_in_flight", "ahead"), [(None, AHEAD), (AHEAD, 2 * AHEAD)], ids=["few slots", "many slots"])
def test_reading_waits_while_many_batches_are_in_flight(
    drive: Callable[..., Driver], max_in_flight: int | None, ahead: int
) -> None:
    """Else a bundle of any size would be in memory at once; and what is answered meanwhile leaves at once."""
    first, others = threading.Event(), threading.Event()  # results leave in order, so the first one has to come first

    async def behave(call: Call) -> Answer:
        await asyncio.to_thread((first if call.number == 0 else others).wait, 60)
        return await doubled(call)

    def release(asked: int) -> bool:
        first.set()
        return True

    guard = Guard(release)
    driver = drive(FakeModel(behave), guard, max_in_flight=max_in_flight)
    driver.fn.start_bundle()
    for number in range(ahead):
        assert driver.process(chunk_of(2 * number, 2 * number + 1)) == []
    assert guard.asked == 0, "not yet"
    found = driver.process(chunk_of(2 * ahead, 2 * ahead + 1))
    assert guard.asked > 0, "it waited"
    assert offsets(found) == [[0, 1]], "before the bundle's end"
    others.set()
    rest = driver.finish()
    assert offsets(found + rest) == [[2 * number, 2 * number + 1] for number in range(ahead + 1)]


def test_reading_waits_while_the_records_in_flight_are_large(drive: Callable[..., Driver]) -> None:
    """Four of 30,000 bytes are more than is for what is in flight, and each is more than a request may have: one by one."""
    gate = threading.Event()

    async def behave(call: Call) -> Answer:
        await asyncio.to_thread(gate.wait, 60)
        return await doubled(call)

    def release(asked: int) -> bool:
        gate.set()
        return True

    guard, model = Guard(release), FakeModel(behave)
    driver = drive(model, guard, memory=Memory(600_000))
    driver.fn.start_bundle()
    chunks = [chunk_of(number, value=bytes(30_000)) for number in range(4)]
    for chunk in chunks[:3]:
        assert driver.process(chunk) == []
    assert guard.asked == 0, "not yet"
    found = driver.process(chunks[3])
    assert guard.asked > 0, "it waited"
    assert offsets(found + driver.finish()) == [[0], [1], [2], [3]]
    assert [call.rows for call in model.calls] == [1] * 4


def test_requests_are_in_flight_together(drive: Callable[..., Driver]) -> None:
    """All of a bundle's batches at once: each waits here until all have arrived."""
    arrived = asyncio.Event()

    async def behave(call: Call) -> Answer:
        if call.number == 7:
            arrived.set()
        await arrived.wait()
        return await doubled(call)

    model = FakeModel(behave)
    assert offsets(drive(model).bundle(chunk_of(*range(16)))) == [list(range(16))]
    assert model.most_in_flight == 8


def test_a_bundle_ends_with_its_last_answer(drive: Callable[..., Driver]) -> None:
    """Not at the next look at the guard, an hour away: also where several answers come in one turn of the loop."""
    gates: dict[int, asyncio.Event] = {}

    async def behave(call: Call) -> Answer:
        gate = gates.setdefault(call.number // 5, asyncio.Event())
        if call.number % 5 == 4:
            gate.set()
        await gate.wait()
        return await doubled(call)

    guard = Guard()
    driver = drive(FakeModel(behave), guard, check_s=3600.0)
    for _ in range(10):
        driver.bundle(chunk_of(*range(10)))
    assert guard.asked == 0


def test_batches_hold_rows_of_several_chunks(drive: Callable[..., Driver]) -> None:
    model = FakeModel()
    found = drive(model, batch_max_size=4).bundle(*(chunk_of(value) for value in range(6)))
    assert offsets(found) == [[value] for value in range(6)]
    assert sorted(call.rows for call in model.calls) == [2, 4]


def test_while_it_waits_the_guard_is_asked(drive: Callable[..., Driver]) -> None:
    go_on = threading.Event()

    async def behave(call: Call) -> Answer:
        await asyncio.to_thread(go_on.wait, 60)
        return await doubled(call)

    def enough(asked: int) -> bool:
        if asked == 2:
            go_on.set()
        return True

    guard = Guard(enough)
    assert offsets(drive(FakeModel(behave), guard).bundle(chunk_of(1))) == [[1]]
    assert guard.asked >= 2


def hanging(until: Callable[[Call], bool]) -> Behaviour:
    async def behave(call: Call) -> Answer:
        if until(call):
            await asyncio.Event().wait()
        return await doubled(call)

    return behave


def test_a_bundle_that_is_given_up_emits_no_more_and_cancels_its_requests(drive: Callable[..., Driver]) -> None:
    model = FakeModel(hanging(lambda call: call.number < 3))
    driver = drive(model, Guard(lambda asked: asked > 1))
    assert driver.bundle(chunk_of(0, 1, 2, 3, 4, 5)) == []
    assert (model.in_flight, model.cancelled) == (0, 3)
    assert offsets(driver.bundle(chunk_of(6, 7), chunk_of(8))) == [[6, 7], [8]], "and leaves nothing for the next"


def test_a_bundle_that_failed_elsewhere_leaves_nothing_for_the_next(drive: Callable[..., Driver]) -> None:
    """Encode or the sink raised: finish_bundle is never called, requests are in flight, rows wait for their batch."""
    model = FakeModel(hanging(lambda call: call.number == 1))
    driver = drive(model)
    driver.fn.start_bundle()
    driver.process(chunk_of(0, 1, 2, 3, 4))
    assert offsets(driver.bundle(chunk_of(10, 11), chunk_of(12))) == [[10, 11], [12]]
    assert model.in_flight == 0
    assert [call.rows for call in model.calls][-2:] in ([2, 1], [1, 2])


def test_an_error_that_ends_the_job_is_raised_and_told(drive: Callable[..., Driver]) -> None:
    class Recorder(Observer):
        errors: list[ScoringError] = []  # noqa: RUF012  # one test, one recorder

        def failed(self, error: ScoringError) -> None:
            self.errors.append(error)

    async def down(call: Call) -> Answer:
        raise TransientError("refused")

    before = observer()
    set_observer(Recorder())
    try:
        driver = drive(FakeModel(down), on_unavailable="fail")
        with pytest.raises(UnavailableError, match="refused"):
            driver.bundle(chunk_of(0, 1, 2, 3))
    finally:
        set_observer(before)
    assert [type(error) for error in Recorder.errors] == [UnavailableError]


def test_an_error_of_the_process_is_raised_in_the_bundle(drive: Callable[..., Driver]) -> None:
    async def broken(call: Call) -> Answer:
        raise MemoryError

    driver = drive(FakeModel(broken))
    with pytest.raises(MemoryError):
        driver.bundle(chunk_of(0))


def test_teardown_closes_the_client_and_may_come_without_a_bundle(drive: Callable[..., Driver]) -> None:
    model = FakeModel(hanging(lambda _: True))
    driver = drive(model)
    driver.fn.start_bundle()
    driver.process(chunk_of(0, 1))
    driver.fn.teardown()
    driver.fn.teardown()
    assert (model.closed, model.in_flight) == (1, 0)
    model = FakeModel()
    drive(model).fn.teardown()
    assert model.closed == 1


def test_a_uri_that_can_not_be_opened_leaves_no_thread() -> None:
    fn = PredictChunks(PredictConfig("nothing://x", FakeModel().metadata))
    with pytest.raises(ScoringError):
        fn.setup()
    assert [thread.name for thread in threading.enumerate() if thread.name == "requests"] == []


def test_it_can_be_pickled_before_it_is_set_up() -> None:
    fn = PredictChunks(PredictConfig("fake://model", FakeModel().metadata), Guard.__new__(Guard))
    assert pickle.loads(pickle.dumps(fn))._config == fn._config


def test_while_no_records_come_the_server_is_looked_at_now_and_then(drive: Callable[..., Driver]) -> None:
    """An empty bundle waits for nothing, and the look goes on in the next ones."""
    model = FakeModel()
    model.metadata_errors = [UnavailableError("refused")] * 1000
    driver = drive(model, look_s=1e-9)
    holds: list[str | None] = []

    class Heard(Observer):
        def holding(self, reason: str | None) -> None:
            holds.append(reason)

    before = observer()
    set_observer(Heard())
    try:
        stop_at = time.monotonic() + 60
        while not holds and time.monotonic() < stop_at:
            assert driver.bundle() == []
        assert holds == ["the model server: refused"]
        model.metadata_errors.clear()
        while holds[-1] is not None and time.monotonic() < stop_at:
            driver.bundle()
        assert holds[-1] is None
        assert model.calls == []
    finally:
        set_observer(before)


def test_a_look_s_of_0_leaves_an_idle_server_alone(drive: Callable[..., Driver]) -> None:
    """So one that scales to zero is not woken: without records no request of any kind is sent."""
    model = FakeModel()
    driver = drive(model, look_s=0.0)
    for _ in range(100):
        assert driver.bundle() == []
    assert model.metadata_calls == 0
    assert len(driver.bundle(chunk_of(0, 1))) == 1
    assert model.metadata_calls > 0


def test_the_guard_is_told_whether_the_server_is_down(drive: Callable[..., Driver]) -> None:
    async def down(call: Call) -> Answer:
        raise UnavailableError("refused")

    guard = Guard(lambda asked: not guard.holding[-1])
    drive(FakeModel(down), guard, check_s=0.01, retry=RetryPolicy(0.2, 0.001, 0.01)).bundle(chunk_of(0, 1))
    assert guard.holding[0] is False
    assert guard.holding[-1] is True
