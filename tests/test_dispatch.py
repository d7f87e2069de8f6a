"""Retries, hold, probe and bisection, with a scripted client and a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_model import Behaviour, Call, FakeModel, doubled, signature
from transforms.batching import Outcome, batch_size, request_inputs
from transforms.dispatch import Dispatcher, DispatchOptions
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.observe import Observer, observer, set_observer
from transforms.retry import RetryPolicy
from transforms.types import Answer, Signature, TensorSpec

T = TypeVar("T")
POISON = 666.0


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.now > 20_000:
            raise RuntimeError("it would wait for ever")
        await asyncio.sleep(0)


class Highest(random.Random):
    """Jitter that always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Listener(Observer):
    def __init__(self) -> None:
        self.retries = 0
        self.answers: list[int] = []
        self.held: list[str | None] = []

    def answered(self, rows: int) -> None:
        self.answers.append(rows)

    def retried(self) -> None:
        self.retries += 1

    def holding(self, reason: str | None) -> None:
        self.held.append(reason)


@pytest.fixture
def heard() -> Iterator[Listener]:
    before, listener = observer(), Listener()
    set_observer(listener)
    yield listener
    set_observer(before)


def dispatcher(
    model: FakeModel,
    time: Time | None = None,
    *,
    deadline_s: float = 60.0,
    on_unavailable: str = "hold",
    max_in_flight: int | None = None,
) -> Dispatcher:
    time = time or Time()
    options = DispatchOptions(30.0, RetryPolicy(deadline_s), on_unavailable, max_in_flight)
    return Dispatcher(model.client(), model.metadata.signature, options, time, time.sleep, Highest())


def run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(limited())


def x_of(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[value] for value in values], np.float32)}


def failing(errors: Sequence[Exception], then: Behaviour = doubled) -> Behaviour:
    """The first requests fail with these."""

    async def behave(call: Call) -> Answer:
        if call.number < len(errors):
            raise errors[call.number]
        return await then(call)

    return behave


def refusing(guilty: Callable[[np.ndarray], Any], error: ModelError) -> Behaviour:
    """A request with a guilty row fails."""

    async def behave(call: Call) -> Answer:
        if np.any(guilty(call.inputs["x"])):
            raise type(error)(*error.args)
        return await doubled(call)

    return behave


def by_row(outcomes: list[Outcome], rows: int) -> list[Any]:
    """Each row's output, or the error class of its failure; every row exactly once."""
    found: dict[int, Any] = {}
    for outcome in outcomes:
        assert (outcome.outputs is None) != (outcome.failure is None)
        for i in range(outcome.rows):
            row = outcome.start + i
            assert row not in found
            if outcome.failure is not None:
                assert outcome.failure.stage == "predict"
                found[row] = outcome.failure.error_class
            else:
                assert outcome.outputs is not None
                assert all(len(values) == outcome.rows for values in outcome.outputs.values())
                found[row] = float(np.ravel(outcome.outputs["y"][i])[0])
    assert sorted(found) == list(range(rows))
    return [found[row] for row in range(rows)]


# ---------------------------------------------------------------------- retries


def test_a_request_that_succeeds_at_once(heard: Listener) -> None:
    model, time = FakeModel(), Time()
    [outcome] = run(dispatcher(model, time).answer(x_of(1, 2, 3), 3))
    assert by_row([outcome], 3) == [2, 4, 6]
    assert (outcome.attempts, outcome.version) == (1, "7")
    assert time.slept == []
    assert model.metadata_calls == 1, "metadata is read before the first predict"
    assert (heard.answers, heard.retries, heard.held) == ([3], 0, [])


def test_transient_failures_are_retried_on_the_schedule(heard: Listener) -> None:
    model, time = FakeModel(failing([TransientError("busy")] * 4 + [UnavailableError("gone")])), Time()
    [outcome] = run(dispatcher(model, time).answer(x_of(1), 1))
    assert time.slept == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])
    assert outcome.attempts == 6
    assert outcome.outputs is not None
    assert heard.retries == 5


def test_the_latency_is_that_of_the_request_that_succeeded() -> None:
    time = Time()

    async def slow(call: Call) -> Answer:
        time.now += 0.25
        return await doubled(call)

    [outcome] = run(dispatcher(FakeModel(failing([TransientError("busy")] * 3, slow)), time).answer(x_of(1), 1))
    assert outcome.latency_ms == pytest.approx(250)


def test_what_the_server_asks_to_wait_is_honoured() -> None:
    time = Time()
    run(dispatcher(FakeModel(failing([TransientError("busy", 7.5), TransientError("busy", 0.01)])), time).answer(x_of(1), 1))
    assert time.slept == pytest.approx([7.5, 0.1])


def test_a_model_that_is_not_served_for_a_while_is_waited_for(heard: Listener) -> None:
    """Between two versions, say."""
    time = Time()
    [outcome] = run(dispatcher(FakeModel(failing([NotServedError("no version")] * 3)), time).answer(x_of(1), 1))
    assert outcome.attempts == 4
    assert outcome.outputs is not None


def test_metadata_that_fails_is_retried_like_a_request() -> None:
    class Client(type(FakeModel().client())):  # type: ignore[misc]  # the fake's own class
        async def metadata(self, timeout_s: float) -> Any:
            await super().metadata(timeout_s)
            if self._model.metadata_calls < 3:
                raise UnavailableError("refused")

    model, time = FakeModel(), Time()
    asked = Dispatcher(Client(model), signature(), DispatchOptions(), time, time.sleep, Highest())
    [outcome] = run(asked.answer(x_of(1), 1))
    assert (outcome.attempts, len(model.calls), model.metadata_calls) == (3, 1, 3)


def test_an_error_that_is_no_model_error_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run(dispatcher(FakeModel(failing([ZeroDivisionError()]))).answer(x_of(1), 1))


# ---------------------------------------------------------------------- the deadline


def test_past_the_deadline_with_dead_letter(heard: Listener) -> None:
    time = Time()
    model = FakeModel(failing([UnavailableError("refused")] * 1000))
    [outcome] = run(dispatcher(model, time, deadline_s=10, on_unavailable="dead_letter").answer(x_of(1, 2), 2))
    assert by_row([outcome], 2) == ["Unavailable", "Unavailable"]
    assert outcome.failure is not None
    assert "refused" in outcome.failure.message
    assert 10 <= time.now - 1000 < 16, "as long as the deadline, and one wait more at most"
    assert outcome.failure.attempts == outcome.attempts == len(time.slept) + 1
    assert heard.held == []


def test_past_the_deadline_with_fail() -> None:
    time = Time()
    model = FakeModel(failing([UnavailableError("refused")] * 1000))
    with pytest.raises(UnavailableError, match="refused"):
        run(dispatcher(model, time, deadline_s=10, on_unavailable="fail").answer(x_of(1, 2), 2))
    assert 10 <= time.now - 1000 < 16


def test_past_the_deadline_with_hold(heard: Listener) -> None:
    """It waits as long as it takes, and tells so once it has begun and once it is over."""
    time = Time()

    async def down_for_an_hour(call: Call) -> Answer:
        if time.now < 4600:
            raise UnavailableError("refused")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(down_for_an_hour), time, deadline_s=10).answer(x_of(1, 2), 2))
    assert by_row(outcomes, 2) == [2, 4]
    assert set(heard.held[:-1]) == {"refused"}
    assert heard.held[-1] is None


def test_waiting_for_a_slot_does_not_count_into_the_deadline() -> None:
    """A queue of batches before a slow server: the last one has had no attempt when the deadline of the first passes."""
    time = Time()
    failures = [TransientError("busy")]

    async def slow(call: Call) -> Answer:
        if call.number == 0:
            time.now += 100
            return await doubled(call)
        if failures:
            raise failures.pop()
        return await doubled(call)

    async def work() -> list[list[Outcome]]:
        asked = dispatcher(FakeModel(slow), time, deadline_s=60, on_unavailable="fail", max_in_flight=1)
        return await asyncio.gather(asked.answer(x_of(1), 1), asked.answer(x_of(2), 1))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[2], [4]]


# ---------------------------------------------------------------------- guilty rows


def bound(rows: int, guilty: int) -> int:
    """Bisection asks at most twice a level for each guilty row, and once for the whole."""
    return 1 + 2 * guilty * max(1, (rows - 1).bit_length())


@given(st.data())
def test_bisection_finds_exactly_the_guilty_rows(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 70))
    guilty = data.draw(st.sets(st.integers(0, rows - 1), max_size=5))
    error = data.draw(st.sampled_from((RejectedError("bad row"), MalformedAnswerError("3 rows for 4"))))
    model = FakeModel(refusing(lambda x: np.isin(x, list(guilty)), error))
    outcomes = run(dispatcher(model).answer(x_of(*range(rows)), rows))
    error_class = "Rejected" if isinstance(error, RejectedError) else "MalformedAnswer"
    assert by_row(outcomes, rows) == [error_class if row in guilty else 2 * row for row in range(rows)]
    assert len(model.calls) <= bound(rows, len(guilty))
    for outcome in outcomes:
        reached = [call for call in model.calls if outcome.start in call.inputs["x"]]
        assert outcome.attempts == len(reached), "attempts: the requests that the rows were part of"


def test_a_server_that_takes_only_small_batches_loses_nothing() -> None:
    async def small(call: Call) -> Answer:
        if call.rows > 10:
            raise RejectedError("Task size is larger than maximum")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(small)).answer(x_of(*range(64)), 64))
    assert by_row(outcomes, 64) == [2 * row for row in range(64)]


def lying(status: str = "internal error") -> Behaviour:
    """A row that makes the server answer 503: it crashes, and its front end calls that "unavailable"."""
    return refusing(lambda x: x == POISON, TransientError(status))


@pytest.mark.parametrize("place", [0, 5, 31])
def test_a_poison_row_that_is_answered_as_an_overload_is_found(place: int, heard: Listener) -> None:
    values = [float(value) for value in range(32)]
    values[place] = POISON
    model, time = FakeModel(lying()), Time()

    async def work() -> list[Outcome]:
        asked = dispatcher(model, time, deadline_s=60)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(*values), 32)

    outcomes = run(work())
    assert by_row(outcomes, 32) == ["ServerError" if row == place else 2 * row for row in range(32)]
    assert time.now - 1000 < 60 + 5 * 6 + 10, "a half has not the whole deadline again"
    assert len(model.calls) < 150
    assert heard.held == []


def test_a_poison_row_is_found_even_in_the_very_first_batch() -> None:
    """Nothing was ever answered: rows of the batch itself serve as the probe, or the job would hold for ever."""
    for values in ([POISON, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, POISON]):
        outcomes = run(dispatcher(FakeModel(lying())).answer(x_of(*values), 4))
        assert by_row(outcomes, 4) == ["ServerError" if value == POISON else 2 * value for value in values]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_comes_back_just_before_the_probe_blames_no_row(rows: int, known: bool) -> None:
    """The probe says that the server is up now, not that it was up when the rows failed: they get another try."""
    time, state = Time(), {"up": known}

    async def behave(call: Call) -> Answer:
        if not state["up"]:
            state["up"] = time.now >= 1060  # this request still fails; the probe right behind it does not
            raise UnavailableError("refused")
        return await doubled(call)

    async def work() -> list[Outcome]:
        asked = dispatcher(FakeModel(behave), time, deadline_s=60)
        if known:
            await asked.answer(x_of(9), 1)
            state["up"] = False
        return await asked.answer(x_of(*range(rows)), rows)

    assert by_row(run(work()), rows) == [2 * row for row in range(rows)]


def test_when_the_server_goes_down_during_a_bisection_the_halves_hold(heard: Listener) -> None:
    time = Time()

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            raise RejectedError("bad row")
        if time.now < 1500:
            raise UnavailableError("refused")
        if POISON in call.inputs["x"]:
            raise RejectedError("bad row")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(behave), time).answer(x_of(1, POISON, 3, 4), 4))
    assert by_row(outcomes, 4) == [2, "Rejected", 6, 8]
    assert heard.held[-1] is None


def test_with_fail_no_request_outlives_the_one_that_failed() -> None:
    """A half ends the job: the other half's request is cancelled with it."""
    time = Time()

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            raise RejectedError("bad row")
        if 1.0 in call.inputs["x"]:
            raise UnavailableError("refused")
        await asyncio.Event().wait()
        raise AssertionError

    model = FakeModel(behave)

    async def work() -> None:
        asked = dispatcher(model, time, on_unavailable="fail", max_in_flight=4)
        with pytest.raises(UnavailableError):
            await asked.answer(x_of(1, 2), 2)
        await asyncio.sleep(0)

    run(work())
    assert (model.in_flight, model.cancelled) == (0, 1)


# ---------------------------------------------------------------------- slots


def test_never_more_in_flight_than_allowed() -> None:
    async def slow(call: Call) -> Answer:
        for _ in range(call.number % 7):
            await asyncio.sleep(0)
        return await doubled(call)

    model = FakeModel(slow)

    async def work() -> list[list[Outcome]]:
        asked = dispatcher(model, max_in_flight=3)
        return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in range(50)))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[2.0 * value] for value in range(50)]
    assert model.most_in_flight == 3


def test_cancelling_frees_the_slots_and_cancels_the_requests() -> None:
    hang = True

    async def behave(call: Call) -> Answer:
        if hang:
            await asyncio.Event().wait()
        return await doubled(call)

    model = FakeModel(behave)

    async def work() -> list[list[Outcome]]:
        nonlocal hang
        asked = dispatcher(model, max_in_flight=2)
        tasks = [asyncio.ensure_future(asked.answer(x_of(1), 1)) for _ in range(6)]
        while model.in_flight < 2:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert (model.in_flight, model.cancelled) == (0, 2)
        hang = False
        return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in range(4)))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[0], [2], [4], [6]]


def test_cancelled_while_holding_it_no_longer_says_so(heard: Listener) -> None:
    model = FakeModel(failing([UnavailableError("refused")] * 10_000))

    async def work() -> None:
        task = asyncio.ensure_future(dispatcher(model, deadline_s=1).answer(x_of(1), 1))
        while not heard.held:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work())
    assert heard.held[-1] is None


# ---------------------------------------------------------------------- fixed batch dimension and scalars


def sizes_sent(served: Signature, inputs: dict[str, np.ndarray], rows: int) -> tuple[FakeModel, list[Any]]:
    model = FakeModel(served=served)
    outcomes = run(dispatcher(model).answer(inputs, rows))
    return model, by_row(outcomes, rows)


def test_a_fixed_batch_dimension_is_filled_up_and_the_surplus_dropped() -> None:
    model, found = sizes_sent(signature((4, 1)), x_of(1, 2, 3), 3)
    assert found == [2, 4, 6]
    assert model.calls[0].rows == 4
    assert model.calls[0].inputs["x"].ravel().tolist() == [1, 2, 3, 3]


def test_a_full_fixed_batch_is_sent_as_it_is() -> None:
    model, found = sizes_sent(signature((4, 1)), x_of(1, 2, 3, 4), 4)
    assert found == [2, 4, 6, 8]
    assert model.calls[0].rows == 4


def test_bisection_and_probe_respect_a_fixed_batch_dimension() -> None:
    model = FakeModel(lying(), signature((4, 1)))
    outcomes = run(dispatcher(model, deadline_s=1).answer(x_of(1, POISON, 3, 4), 4))
    assert by_row(outcomes, 4) == [2, "ServerError", 6, 8]
    assert {(call.rows, call.inputs["x"].shape) for call in model.calls} == {(4, (4, 1))}


def test_scalar_inputs_are_sent_without_a_batch_dimension() -> None:
    model, found = sizes_sent(signature(()), {"x": np.array([21], np.float32)}, 1)
    assert found == [42]
    assert (model.calls[0].inputs["x"].shape, model.calls[0].inputs["x"].dtype) == ((), np.float32)


def test_scalar_strings_stay_bytes() -> None:
    values = np.array([b"\x00text\x00"], dtype=object)
    sent, rows = request_inputs(signature((), "string"), {"x": values}, 1)
    assert rows == 1
    assert (sent["x"].shape, sent["x"].dtype, sent["x"][()]) == ((), np.dtype(object), b"\x00text\x00")


@pytest.mark.parametrize("scalar_first", [True, False])
def test_a_scalar_beside_a_fixed_batch_dimension(scalar_first: bool) -> None:
    """Each record has a scalar of its own, so each is a request of its own, filled up."""
    specs = {"k": TensorSpec("float32", ()), "x": TensorSpec("float32", (4, 1))}
    served = signature()
    served = Signature(served.name, served.method, dict(sorted(specs.items(), reverse=not scalar_first)), served.outputs)
    assert batch_size(served, 64) == 1
    sent, rows = request_inputs(served, {"k": np.array([5], np.float32), **x_of(1)}, 1)
    assert rows == 4
    assert sent["k"].shape == ()
    assert sent["x"].ravel().tolist() == [1, 1, 1, 1]
