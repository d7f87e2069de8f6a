"""What ``--token_limit`` counts: what the server has said; nothing of a refusal; of any other end, the estimate."""

from __future__ import annotations

import asyncio
import contextlib
import enum

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tests.dispatching import Highest, Time, by_row, recording, run, x_of
from tests.fake_model import Call, FakeModel, doubled
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    OverloadedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.predict.dispatch import Dispatcher
from transforms.predict.endpoint import Endpoint
from transforms.predict.limits import row_bytes
from transforms.predict.options import DispatchOptions
from transforms.predict.pace import TOKENS_A_BYTE, Pace, RateLimits
from transforms.retry import RetryPolicy
from transforms.types import Answer, Tokens


class End(enum.Enum):
    """How a request ends."""

    COUNTED = "answered with a count"
    UNCOUNTED = "answered without one"
    UNREADABLE = "answered with a count, and nothing that can be read"
    NOTHING_SAID = "answered with nothing that can be read"
    REFUSED = "400"
    NOT_SERVED = "404"
    UNAVAILABLE = "503, or no connection"
    BUSY = "429"
    CUT = "the connection was cut, or 502"
    LATE = "no answer in time"
    FAILED = "500"
    CANCELLED = "cancelled while it was under way"


_ERRORS: dict[End, type[ModelError]] = {
    End.UNREADABLE: MalformedAnswerError,
    End.NOTHING_SAID: MalformedAnswerError,
    End.REFUSED: RejectedError,
    End.NOT_SERVED: NotServedError,
    End.UNAVAILABLE: UnavailableError,
    End.BUSY: OverloadedError,
    End.CUT: UnavailableError,
    End.LATE: OverloadedError,
    End.FAILED: TransientError,
}
_HAS_COUNT = (End.COUNTED, End.UNREADABLE)
_COSTS_NOTHING = (End.REFUSED, End.NOT_SERVED, End.UNAVAILABLE, End.BUSY)
_REQUESTS = st.lists(st.tuples(st.sampled_from(End), st.integers(0, 40)), max_size=5)


def ended(end: End, tokens: int) -> Answer:
    """What a client does of an end: it answers or raises."""
    if end is End.CANCELLED:
        raise AssertionError("is not the client's")
    if (kind := _ERRORS.get(end)) is not None:
        error = kind(end.value)
        if isinstance(error, MalformedAnswerError) and end in _HAS_COUNT:
            error.tokens = Tokens(tokens, 0)
        if isinstance(error, TransientError):
            error.not_run = end in _COSTS_NOTHING
        raise error
    return Answer({"y": [1.0]}, "7", tokens=Tokens(0, tokens) if end in _HAS_COUNT else None)


class Ledger:
    """What should have been counted, by the rules in words above."""

    def __init__(self, size: float):
        self.size, self.taken, self._seen, self._bytes = size, 0.0, 0.0, 0.0

    def request(self, end: End, tokens: int) -> None:
        if end in _HAS_COUNT:
            self._seen, self._bytes = self._seen + tokens, self._bytes + self.size
            self.taken += tokens
        elif end not in _COSTS_NOTHING:
            self.taken += self.size * (self._seen / self._bytes if self._bytes else TOKENS_A_BYTE)


@hypothesis.given(st.lists(st.tuples(st.sampled_from(End), st.integers(0, 40), st.none() | _REQUESTS), max_size=12))
@hypothesis.settings(max_examples=150, deadline=None)
def test_a_request_is_sent_when_all_before_it_are_paid_for(
    work: list[tuple[End, int, list[tuple[End, int]] | None]],
) -> None:
    """Requests one after the other, some of whose answers the server is asked to mend, each of which may end in any way."""
    time, sent = Time(), list[float]()
    script: list[tuple[End, int]] = []
    mendings: list[list[tuple[End, int]] | None] = []

    async def under_way(end: End, tokens: int) -> Answer:
        sent.append(time.now)
        ledger.request(end, tokens)
        due.append(1000.0 + ledger.taken / 10)
        if end is End.CANCELLED:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return ended(end, tokens)

    async def behave(call: Call) -> Answer:
        answer = await under_way(*script.pop())
        if (mending := mendings.pop()) is not None:

            async def again(timeout_s: float) -> Answer:
                mended = await under_way(*(mending.pop(0) if mending else (End.COUNTED, 3)))
                mended.asked = 2
                return mended

            answer.again = again
        return answer

    async def everything() -> None:
        endpoint = Endpoint(FakeModel(behave).client, model.metadata.signature, 30.0, time, pace)
        for end, tokens, mending in work:
            script.append((end, tokens))
            mendings.append(list(mending) if mending is not None else None)
            task = asyncio.create_task(endpoint.send(x_of(1), 1))
            with contextlib.suppress(ModelError, asyncio.CancelledError):
                await task
            script.clear()
            mendings.clear()
        script.append((End.COUNTED, 0))
        mendings.append(None)
        await endpoint.send(x_of(1), 1)

    model, pace = FakeModel(), Pace(RateLimits(tokens_per_s=10), time, time.sleep)
    ledger, due = Ledger(float(row_bytes(x_of(1), 1).sum())), [1000.0]
    asyncio.run(everything())
    assert sent == pytest.approx(due[:-1])


def dispatched(model: FakeModel, time: Time) -> Dispatcher:
    options = DispatchOptions(30.0, RetryPolicy(60.0), "fail", None, limits=RateLimits(tokens_per_s=1000))
    return Dispatcher(model.client(), model.metadata.signature, options, time, time.sleep, Highest())


@pytest.mark.parametrize("error", [UnavailableError("503"), OverloadedError("429"), TransientError("500")])
def test_a_mending_that_meets_a_failure_is_asked_for_alone(error: ModelError) -> None:
    """The answer that was paid for is not asked for, paid for and counted once more."""
    mendings: list[ModelError] = [error, error]

    async def again(timeout_s: float) -> Answer:
        if mendings:
            raise mendings.pop()
        return Answer({"y": [1.0]}, "7", asked=2, tokens=Tokens(30, 4))

    async def first(call: Call) -> Answer:
        answer = await doubled(call)
        answer.again, answer.tokens = again, Tokens(20, 9)
        return answer

    model = FakeModel(first)
    with recording() as seen:
        results = run(dispatched(model, Time()).answer(x_of(1), 1))
    assert len([call for call in model.calls if np.array_equal(call.inputs["x"], x_of(1)["x"])]) == 1
    assert seen.tokens == [(20, 9), (30, 4)]
    assert by_row(results, 1) == [1.0]
    assert results[0].attempts == 4, "the first request, two that failed, and the last"
