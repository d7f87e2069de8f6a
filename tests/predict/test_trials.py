"""Trials: when they begin, and that nobody waits for one that was given up."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.dispatching import run
from transforms.errors import ModelError, TransientError
from transforms.predict.batching import RowsResult
from transforms.predict.causes import Causes
from transforms.predict.false_alarms import FALSE_VERDICT, FalseAlarms
from transforms.predict.limiter import Limiter
from transforms.predict.spans import Span
from transforms.predict.trials import MANY, Guilty, Trials

ERROR = TransientError("INTERNAL")


def span() -> Span:
    return Span.of({}, 1)


class Court:
    """Trials of rows that always fail, and what was in flight while they were asked for."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.limiter, self.asked, self._raises = Limiter(4), list[int](), raises
        self.trials = Trials(self.limiter, self._attempt, self._control, FalseAlarms(), Causes())

    async def _attempt(self, span: Span) -> RowsResult | ModelError:
        self.asked.append(self.limiter.in_flight)
        await asyncio.sleep(0)
        if self._raises is not None:
            raise self._raises
        return ERROR

    async def _control(self) -> bool:
        return True


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answered", "alarms", "strikes"), [(0, 0, 20), (30, 0, 4), (100, 0, 2), (2000, 0, 2), (7, 3, 13), (60, 40, 16)]
)
def test_strikes_of_a_trial(answered: int, alarms: int, strikes: int) -> None:
    """Alone and more than once, whatever is known of the server; the failure before the trial counts if it is reliable."""
    of_server = FalseAlarms()
    for _ in range(answered):
        of_server.answered()
    for _ in range(alarms):
        of_server.alarm()
    assert of_server.strikes_in_trial() == strikes
    before = int(of_server.reliable)
    share = (alarms + 1) / (answered + alarms + 2)
    assert share ** (strikes + before) <= FALSE_VERDICT


def test_a_trial_waits_for_what_is_in_flight_and_for_what_wants_a_slot() -> None:
    court = Court()

    async def work() -> None:
        for _ in range(4):
            await court.limiter.__aenter__()
        verdict = asyncio.ensure_future(court.trials.judge(span(), ERROR))
        waiting = asyncio.ensure_future(court.limiter.__aenter__())
        await turns()
        for _ in range(4):
            await court.limiter.__aexit__()
            await turns()
            assert court.asked == [], "the one that waited goes first"
        await waiting
        await court.limiter.__aexit__()
        assert isinstance(await verdict, Guilty)

    run(work())
    assert set(court.asked) == {0}


def test_many_suspects_are_not_kept_waiting() -> None:
    """Requests go on without end: those in flight end, and no other begins until the verdicts."""
    court = Court()

    async def work() -> None:
        async def go_on() -> None:
            while True:
                async with court.limiter:
                    await asyncio.sleep(0)

        others = [asyncio.ensure_future(go_on()) for _ in range(8)]
        await turns()
        few = [asyncio.ensure_future(court.trials.judge(span(), ERROR)) for _ in range(MANY - 1)]
        await turns(50)
        assert court.asked == []
        one_more = asyncio.ensure_future(court.trials.judge(span(), ERROR))
        assert all(isinstance(verdict, Guilty) for verdict in await asyncio.gather(*few, one_more))
        before = court.limiter.in_flight
        await turns()
        assert before or court.limiter.in_flight, "the others go on"
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    run(work())
    assert set(court.asked) == {0}


@pytest.mark.parametrize("waited", range(6))
def test_a_suspect_that_comes_just_when_all_others_are_cancelled_gets_its_verdict(waited: int) -> None:
    """A bundle is given up, and the next one begins at once."""
    court = Court()

    async def work() -> None:
        given_up = asyncio.ensure_future(court.trials.judge(span(), ERROR))
        await turns(waited)
        given_up.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await given_up
        assert isinstance(await court.trials.judge(span(), ERROR), Guilty)
        async with court.limiter:
            pass

    run(work())


def test_what_a_trial_raises_reaches_all_that_wait_for_it() -> None:
    court = Court(MemoryError())

    async def work() -> None:
        found = await asyncio.gather(*(court.trials.judge(span(), ERROR) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in found] == [MemoryError] * 3

    run(work())
