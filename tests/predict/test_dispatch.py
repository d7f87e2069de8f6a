"""Retries, deadlines and slots, with a scripted client and a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dispatching import Highest, Recorder, Time, by_row, dispatcher, failing, recording, run, x_of
from tests.fake_model import Call, FakeModel, doubled, signature
from transforms.errors import (
    ConfigError,
    NotServedError,
    OverloadedError,
    TransientError,
    UnavailableError,
)
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.types import Answer


@pytest.fixture
def heard() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


# ---------------------------------------------------------------------- retries


def test_a_request_that_succeeds_at_once(heard: Recorder) -> None:
    model, time = FakeModel(), Time()
    [outcome] = run(dispatcher(model, time).answer(x_of(1, 2, 3), 3))
    assert by_row([outcome], 3) == [2, 4, 6]
    assert (outcome.attempts, outcome.version) == (1, "7")
    assert time.slept == []
    assert (heard.answers, heard.failures, heard.in_flight) == ([3], [], [1, 0])
    assert model.metadata_calls == 1, "metadata is read before the first predict"
    assert (heard.answers, heard.retries, heard.held) == ([3], 0, [])


def test_transient_failures_are_retried_on_the_schedule(heard: Recorder) -> None:
    model, time = FakeModel(failing([TransientError("busy")] * 4 + [UnavailableError("gone")])), Time()
    [outcome] = run(dispatcher(model, time).answer(x_of(1), 1))
    assert time.slept == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])
    assert outcome.attempts == 6
    assert outcome.outputs is not None
    assert heard.retries == 5
    assert heard.failures == ["Transient"] * 4 + ["Unavailable"]


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


@pytest.mark.parametrize("then", ["dead_letter", "fail"])
def test_a_server_can_not_make_a_request_wait_past_its_deadline(then: str) -> None:
    time = Time()
    job = dispatcher(
        FakeModel(failing([TransientError("busy", 99_999_999.0)] * 50)), time, deadline_s=2, on_unavailable=then
    )
    if then == "fail":
        with pytest.raises(UnavailableError):
            run(job.answer(x_of(1), 1))
    else:
        assert by_row(run(job.answer(x_of(1), 1)), 1) == ["Unavailable"]
    assert time.slept == pytest.approx([2.0])


def test_a_job_that_holds_asks_again_within_a_deadline_whatever_the_server_asks_for(heard: Recorder) -> None:
    time = Time()
    model = FakeModel(failing([OverloadedError("busy", float("inf"))] * 4))
    assert by_row(run(dispatcher(model, time, deadline_s=2).answer(x_of(1), 1)), 1) == [2]
    assert time.slept == pytest.approx([2.0] * 3), "the fourth was a probe"
    assert heard.held[-1] is None


def test_a_half_has_its_own_deadline_for_what_the_server_asks_for() -> None:
    """A batch that has used up its own leaves its halves two seconds each."""
    time = Time()

    async def busy(call: Call) -> Answer:
        if call.rows == 4:
            time.now += 61
            raise OverloadedError("no answer in time")
        if time.now < 1000 + 61 + 2:
            raise OverloadedError("busy", 50.0)
        return await doubled(call)

    model, others = FakeModel(busy), FakeModel()
    assert by_row(run(dispatcher(model, time, others=others).answer(x_of(1, 2, 3, 4), 4)), 4) == [2, 4, 6, 8]
    assert max(time.slept) == pytest.approx(2.0)


def test_a_model_that_is_not_served_for_a_while_is_waited_for(heard: Recorder) -> None:
    """Between two versions, say."""
    time = Time()
    [outcome] = run(dispatcher(FakeModel(failing([NotServedError("no version")] * 3)), time).answer(x_of(1), 1))
    assert outcome.attempts == 4
    assert outcome.outputs is not None


def test_metadata_that_fails_is_retried_like_a_request() -> None:
    class Client(type(FakeModel().client())):  # type: ignore[misc]  # the fake's own class
        async def metadata(self, timeout_s: float) -> Any:
            found = await super().metadata(timeout_s)
            if self._model.metadata_calls < 3:
                raise UnavailableError("refused")
            return found

    model, time = FakeModel(), Time()
    asked = Dispatcher(Client(model), signature(), DispatchOptions(), time, time.sleep, Highest())
    [outcome] = run(asked.answer(x_of(1), 1))
    assert (outcome.attempts, len(model.calls), model.metadata_calls) == (3, 1, 3)


def test_an_error_that_no_row_can_be_guilty_of_is_not_swallowed() -> None:
    with pytest.raises(MemoryError):
        run(dispatcher(FakeModel(failing([MemoryError()]))).answer(x_of(1), 1))


# ---------------------------------------------------------------------- the deadline


def test_past_the_deadline_with_dead_letter(heard: Recorder) -> None:
    time = Time()
    model = FakeModel(failing([UnavailableError("refused")] * 1000))
    [outcome] = run(dispatcher(model, time, deadline_s=10, on_unavailable="dead_letter").answer(x_of(1, 2), 2))
    assert by_row([outcome], 2) == ["Unavailable", "Unavailable"]
    assert outcome.failure is not None
    assert "refused" in outcome.failure.message
    assert 10 <= time.now - 1000 < 16, "as long as the deadline, and one wait more at most"
    assert outcome.failure.attempts == outcome.attempts == len(time.slept) + 1
    assert heard.held[0] == "the model server: refused"
    assert heard.held[-1] is None


def test_past_the_deadline_with_fail() -> None:
    time = Time()
    model = FakeModel(failing([UnavailableError("refused")] * 1000))
    with pytest.raises(UnavailableError, match="refused"):
        run(dispatcher(model, time, deadline_s=10, on_unavailable="fail").answer(x_of(1, 2), 2))
    assert 10 <= time.now - 1000 < 16


def test_past_the_deadline_with_hold(heard: Recorder) -> None:
    """It waits as long as it takes, and tells so once it has begun and once it is over."""
    time = Time()

    async def down_for_an_hour(call: Call) -> Answer:
        if time.now < 4600:
            raise UnavailableError("refused")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(down_for_an_hour), time, deadline_s=10).answer(x_of(1, 2), 2))
    assert by_row(outcomes, 2) == [2, 4]
    assert set(heard.held[:-1]) == {"the model server: refused"}
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

    async def work() -> list[list[RowsResult]]:
        asked = dispatcher(FakeModel(slow), time, deadline_s=60, on_unavailable="fail", max_in_flight=1)
        return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in (1, 2)))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[2], [4]]


# ---------------------------------------------------------------------- slots


def test_a_misspelt_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_unavailable='holt': use hold, dead_letter or fail"):
        DispatchOptions(on_unavailable="holt")


def test_never_more_in_flight_than_allowed() -> None:
    async def slow(call: Call) -> Answer:
        for _ in range(call.number % 7):
            await asyncio.sleep(0)
        return await doubled(call)

    model = FakeModel(slow)

    async def work() -> list[list[RowsResult]]:
        asked = dispatcher(model, max_in_flight=3)
        return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in range(50)))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[2.0 * value] for value in range(50)]
    assert model.most_in_flight == 3


def test_more_are_in_flight_where_that_brings_more() -> None:
    """A server of 200 ms that takes any number at once, with a backlog: each round trip is one turn of this clock."""
    time, waiting = Time(), list[asyncio.Event]()

    async def slow(call: Call) -> Answer:
        waiting.append(answered := asyncio.Event())
        await answered.wait()
        return await doubled(call)

    async def serve() -> None:
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            time.now += 0.2
            for answered in waiting:
                answered.set()
            waiting.clear()

    async def work() -> int:
        asked, server = dispatcher(model, time), asyncio.ensure_future(serve())
        await asyncio.gather(*(asked.answer(x_of(value), 1) for value in range(600)))
        server.cancel()
        return asked.limit

    model = FakeModel(slow)
    assert run(work()) > 200
    assert model.most_in_flight > 200


def test_a_request_that_its_client_cancels_is_sent_again() -> None:
    """A client may close its connection under a request. Nobody has cancelled who waits for it."""
    model = FakeModel()

    async def behave(call: Call) -> Answer:
        if len(model.calls) == 1:
            raise asyncio.CancelledError
        return await doubled(call)

    async def work() -> list[RowsResult]:
        return await dispatcher(model).answer(x_of(1), 1)

    model.behaviour = behave
    assert by_row(run(work()), 1) == [2]
    assert len(model.calls) == 2


def test_cancelling_frees_the_slots_and_cancels_the_requests() -> None:
    hang = True

    async def behave(call: Call) -> Answer:
        if hang:
            await asyncio.Event().wait()
        return await doubled(call)

    model = FakeModel(behave)

    async def work() -> list[list[RowsResult]]:
        nonlocal hang
        asked = dispatcher(model, max_in_flight=2)
        tasks = [asyncio.ensure_future(asked.answer(x_of(1), 1)) for _ in range(6)]
        while model.in_flight < 2:  # noqa: ASYNC110  # a turn of the loop, not a wait
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert (model.in_flight, model.cancelled) == (0, 2)
        hang = False
        return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in range(4)))

    assert [by_row(outcomes, 1) for outcomes in run(work())] == [[0], [2], [4], [6]]


@pytest.mark.parametrize("on_unavailable", ["hold", "dead_letter", "fail"])
def test_a_server_that_is_down_is_told_long_before_the_deadline(on_unavailable: str, heard: Recorder) -> None:
    """Whoever looks at status, readiness or metrics learns it within some seconds, whatever the deadline is."""
    time, told = Time(), list[float]()

    async def behave(call: Call) -> Answer:
        told.extend([time.now - 1000] if heard.held and not told else [])
        if time.now < 1030:
            raise UnavailableError("refused")
        return await doubled(call)

    asked = dispatcher(FakeModel(behave), time, deadline_s=3600, on_unavailable=on_unavailable)
    assert by_row(run(asked.answer(x_of(1), 1)), 1) == [2.0]
    assert heard.held[0] == "the model server: refused"
    assert heard.held[-1] is None
    assert not asked.holding
    assert told[0] <= 4


def test_a_request_that_fails_while_others_are_answered_is_no_reason_to_say_that_the_server_is_down(
    heard: Recorder,
) -> None:
    time = Time()

    async def behave(call: Call) -> Answer:
        if call.inputs["x"][0, 0] == 1 and time.now < 1030:
            raise OverloadedError("RESOURCE_EXHAUSTED: queue full")
        return await doubled(call)

    async def work() -> None:
        asked = dispatcher(FakeModel(behave), time, deadline_s=3600)
        busy = asyncio.ensure_future(asked.answer(x_of(1), 1))
        while not busy.done():
            await asked.answer(x_of(2), 1)
            await asyncio.sleep(0)

    run(work())
    assert heard.held == []


def test_records_that_always_time_out_are_named_once_others_are_answered(heard: Recorder) -> None:
    """They hold the job, as nothing is blamed for a time-out. Who reads why can look at them."""
    time = Time()

    async def behave(call: Call) -> Answer:
        if 3.0 in call.inputs["x"] and time.now < 5000:
            raise OverloadedError("no answer within 30 s")
        return await doubled(call)

    async def work() -> list[RowsResult]:
        asked = dispatcher(FakeModel(behave), time, deadline_s=60)
        await asked.answer(x_of(9), 1)
        return await asked.answer(x_of(0, 1, 2, 3), 4, lambda row: f"orders/5/{100 + row}")

    assert by_row(run(work()), 4) == [0.0, 2.0, 4.0, 6.0]
    assert any("one of the records from orders/5/100 to orders/5/103" in str(reason) for reason in heard.held)
    last = [reason for reason in heard.held if reason is not None][-1]
    assert last == ("the model server: it answers other records, but not record orders/5/103 so far: no answer within 30 s")
    assert heard.held[-1] is None


def test_a_look_says_that_the_server_is_down_and_ends_when_it_is_back(heard: Recorder) -> None:
    time, model = Time(), FakeModel()
    asked = dispatcher(model, time)
    model.metadata_errors = [UnavailableError("refused")] * 5
    run(asked.look())
    assert heard.held == [*["the model server: refused"] * 4, None]
    assert time.now - 1000 <= 5
    run(asked.look())
    assert heard.held[-1] is None
    assert len(heard.held) == 5
    assert model.calls == [], "no record is needed for it"


def test_cancelled_while_holding_it_no_longer_says_so(heard: Recorder) -> None:
    model = FakeModel(failing([UnavailableError("refused")] * 10_000))

    async def work() -> None:
        task = asyncio.ensure_future(dispatcher(model, deadline_s=1).answer(x_of(1), 1))
        while not heard.held:  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work())
    assert heard.held[-1] is None
