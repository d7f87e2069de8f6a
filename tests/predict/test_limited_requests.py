"""Requests under ``--rate_limit``: what waits for its turn, and what the wait counts for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dispatching import Highest, Time, by_row, dispatcher, failing, recording, run, x_of
from tests.fake_model import Call, FakeModel, doubled
from transforms.clients.wire.outputs import OutputMatcher
from transforms.errors import OverloadedError
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.predict.pace import RateLimits
from transforms.retry import RetryPolicy
from transforms.types import Answer, Tokens


def limited(model: FakeModel, time: Time, limits: RateLimits, deadline_s: float = 60.0) -> Dispatcher:
    options = DispatchOptions(30.0, RetryPolicy(deadline_s), "fail", None, limits=limits)
    return Dispatcher(model.client(), model.metadata.signature, options, time, time.sleep, Highest())


def test_a_limit_is_waited_for_and_is_no_failure() -> None:
    """Far longer than the deadline of retries, with no hold."""
    model, time = FakeModel(), Time()
    one = limited(model, time, RateLimits(requests_per_s=0.01), deadline_s=2.0)

    async def work() -> list[object]:
        return [by_row(await one.answer(x_of(n), 1), 1)[0] for n in range(3)]

    with recording() as seen:
        found = run(work())
    assert [float(value) for value in found] == [0.0, 2.0, 4.0]  # type: ignore[arg-type]  # arrays of one number
    assert time.now == pytest.approx(1200)
    assert (seen.held, seen.failures, seen.retries) == ([], [], 0)


def test_a_wait_for_the_limit_does_not_run_out_the_deadline_of_retries() -> None:
    """Three overloads in turn, with 100 s between two requests and a deadline of 60."""
    model, time = FakeModel(failing([OverloadedError("busy")] * 3)), Time()
    one = limited(model, time, RateLimits(requests_per_s=0.01))
    [value] = by_row(run(one.answer(x_of(1), 1)), 1)
    assert float(value) == 2.0
    assert len(model.calls) == 4


def test_a_request_to_mend_an_answer_waits_for_the_limit_too() -> None:
    time, sent = Time(), []

    async def again(timeout_s: float) -> Answer:
        sent.append(time.now)
        return Answer({"y": [1.0]}, "7", asked=2)

    async def first(call: Call) -> Answer:
        sent.append(time.now)
        answer = await doubled(call)
        answer.again = again
        return answer

    [result] = run(limited(FakeModel(first), time, RateLimits(requests_per_s=0.1)).answer(x_of(1), 1))
    assert sent == [1000, 1010]
    assert (result.attempts, result.latency_ms) == (2, 0.0), "a wait is no latency of the server"


@pytest.mark.parametrize("limits", [RateLimits(), RateLimits(requests_per_s=1000)], ids=["no limit", "a limit"])
def test_the_tokens_of_each_request_are_counted(limits: RateLimits) -> None:
    """Also of an answer that is mended: its server has charged for both."""

    async def again(timeout_s: float) -> Answer:
        return Answer({"y": [1.0]}, "7", asked=2, tokens=Tokens(30, 4))

    async def first(call: Call) -> Answer:
        answer = await doubled(call)
        answer.again, answer.tokens = again, Tokens(20, 9)
        return answer

    with recording() as seen:
        run(limited(FakeModel(first), Time(), limits).answer(x_of(1), 1))
        run(limited(FakeModel(), Time(), limits).answer(x_of(1), 1))
    assert seen.tokens == [(20, 9), (30, 4)]


def test_requests_that_prove_an_output_wait_for_the_limit_too() -> None:
    """Of outputs that nobody declares: one of one row, here one of another size, and the first one again."""
    time, sent, matcher = Time(), list[float](), OutputMatcher("model m")

    async def always_two(call: Call) -> Answer:
        sent.append(time.now)
        return matcher.match({"y": np.array([10.0, 20.0])}, call.rows).answer("1")

    [result] = run(limited(FakeModel(always_two), time, RateLimits(requests_per_s=0.1)).answer(x_of(1, 2), 2))
    assert sent == [1000, 1010, 1020, 1030]
    assert result.latency_ms == 0.0


def test_requests_by_which_a_client_describes_its_model_count() -> None:
    """They do not wait: whether the server is there has to be known in time."""
    time, sent = Time(), list[float]()

    async def answered(call: Call) -> Answer:
        sent.append(time.now)
        return await doubled(call)

    model = FakeModel(answered)
    model.asked_for_metadata = 3
    run(limited(model, time, RateLimits(requests_per_s=0.1)).answer(x_of(1), 1))
    assert sent == [1030]


@pytest.mark.parametrize("value", [3.5, None, True, {"a": "text"}, ["text", 1]])
def test_json_of_any_kind_is_paced(value: object) -> None:
    """Where no signature says more, rows are JSON as it came: a number had no length, and the record was a dead letter."""
    model, time = FakeModel(answer_of), Time()
    column = np.empty(1, object)
    column[0] = value
    [result] = run(limited(model, time, RateLimits(tokens_per_s=1.0)).answer({"x": column}, 1))
    assert not result.failures


async def answer_of(call: Call) -> Answer:
    return Answer({"y": [0.0] * call.rows}, "7")


def test_without_a_limit_nothing_changes() -> None:
    model, time = FakeModel(), Time()
    run(dispatcher(model, time).answer(x_of(1, 2), 2))
    assert time.slept == []
