"""``--rate_limit`` and ``--token_limit``, under a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Sequence

import hypothesis
import hypothesis.strategies as st
import pytest

from transforms.predict.pace import Pace, RateLimits, pace_of, records_a_bundle
from transforms.predict.turns import LATE_S
from transforms.types import Tokens


class Clock:
    """A clock for tasks side by side: when all of them sleep, it goes on to the first that wakes."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), event))
        await event.wait()

    async def run(self, *work: asyncio.Task[None]) -> None:
        """Runs tasks to their ends."""
        while True:
            for _ in range(50):  # more turns than any of them needs until it sleeps
                await asyncio.sleep(0)
            if all(task.done() for task in work):
                await asyncio.gather(*work)
                return
            at, _, event = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            event.set()


def sent_at(limits: RateLimits, requests: int, tokens: Tokens | None = None, took_s: float = 0.0) -> list[float]:
    """Sends requests of 40 bytes, as many as may be at a time; returns when each went out, in seconds from the first."""
    clock = Clock()
    pace, times = Pace(limits, clock, clock.sleep), []

    async def one() -> None:
        _, estimate = await pace.turn(40)
        times.append(clock.now)
        if took_s:
            await clock.sleep(took_s)
        pace.took(tokens, estimate, 40)

    async def everything() -> None:
        await clock.run(*[asyncio.create_task(one()) for _ in range(requests)])

    asyncio.run(everything())
    return [time - 100 for time in times]


def test_requests_are_spaced_evenly() -> None:
    assert sent_at(RateLimits(requests_per_s=4), 9) == [n / 4 for n in range(9)]


def test_without_a_limit_none_waits() -> None:
    assert sent_at(RateLimits(), 9) == [0.0] * 9


def test_time_without_requests_is_not_saved_up() -> None:
    clock = Clock()
    pace = Pace(RateLimits(requests_per_s=1), clock, clock.sleep)

    async def two() -> float:
        await pace.turn(1)
        clock.now += 100
        await pace.turn(1)
        task = asyncio.create_task(pace.turn(1))
        await clock.run(task)  # type: ignore[arg-type]  # its result is of no interest
        return task.result()[0]

    assert asyncio.run(two()) == 1.0


def test_tokens_are_estimated_and_made_up_for() -> None:
    """The first are taken for 10 tokens, by their bytes; they take 30. In the long run the rate is what was asked for."""
    times = sent_at(RateLimits(tokens_per_s=60), 100, Tokens(20, 10))
    assert times[0] == 0
    assert times[-1] == pytest.approx(99 * 30 / 60, rel=0.05)


def test_many_in_flight_while_nothing_is_known() -> None:
    """Requests that take longer than their turn go out by the estimate; what they took more is waited for afterwards."""
    times = sent_at(RateLimits(tokens_per_s=10), 40, Tokens(20, 20), took_s=5)
    assert times[:5] == [0, 1, 2, 3, 4], "taken for 10 tokens each"
    assert times[5] == 20, "the five took 40 each"
    assert times[-1] == pytest.approx(39 * 40 / 10, rel=0.1)


def test_a_server_that_counts_no_tokens_is_estimated_by_bytes() -> None:
    assert sent_at(RateLimits(tokens_per_s=10), 4) == [0, 1, 2, 3]


def test_both_limits_hold() -> None:
    assert sent_at(RateLimits(requests_per_s=2, tokens_per_s=1000), 3) == [0, 0.5, 1]
    assert sent_at(RateLimits(requests_per_s=1000, tokens_per_s=10), 3) == [0, 1, 2]


def test_a_request_that_is_cancelled_gives_its_turn_back() -> None:
    clock = Clock()
    pace = Pace(RateLimits(requests_per_s=0.1), clock, clock.sleep)

    async def cancelled() -> float:
        await pace.turn(1)
        for _ in range(5):
            waiting = asyncio.create_task(pace.turn(1))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        task = asyncio.create_task(pace.turn(1))
        await clock.run(task)  # type: ignore[arg-type]  # its result is of no interest
        return task.result()[0]

    assert asyncio.run(cancelled()) == pytest.approx(10)


Action = tuple[float, int | None, int]
"""At a time: to ask with so many bytes (``None``: to cancel one that was asked before), and the tokens that it takes."""


def sent_although(limits: RateLimits, *actions: Action) -> dict[int, float]:
    """Asks for turns and cancels some; returns when each that was not cancelled in time was sent, by its number."""
    clock = Clock()
    pace, times, tasks = Pace(limits, clock, clock.sleep), dict[int, float](), list[asyncio.Task[None]]()

    async def one(number: int, size: int, tokens: int) -> None:
        _, estimate = await pace.turn(size)
        times[number] = clock.now - 100
        await clock.sleep(0.5)
        pace.took(Tokens(tokens, None), estimate, size)

    async def act(at: float, size: int | None, number: int) -> None:
        await clock.sleep(at)
        if size is not None:
            tasks.append(asyncio.create_task(one(len(tasks), size, number)))
        elif tasks:
            tasks[number % len(tasks)].cancel()

    async def everything() -> None:
        await clock.run(*[asyncio.create_task(act(*action)) for action in actions])
        with contextlib.suppress(asyncio.CancelledError):
            await clock.run(*[task for task in tasks if not task.cancelled()])

    asyncio.run(everything())
    return times


def test_a_turn_that_is_given_back_moves_those_behind_it_only() -> None:
    """Those before it would be sent early: a dispatcher that rolls back made others, of the same process, send a burst."""
    asks = [(0.0, 1, 0)] * 6
    assert sent_although(RateLimits(requests_per_s=1), *asks, (0.5, None, 5)) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    assert sent_although(RateLimits(requests_per_s=1), *asks, (0.5, None, 3)) == {0: 0, 1: 1, 2: 2, 4: 3, 5: 4}
    two_dispatchers = [(0.5, None, number) for number in (1, 3, 5)]
    assert sent_although(RateLimits(requests_per_s=1), *asks, *two_dispatchers) == {0: 0, 2: 1, 4: 2}


def test_a_large_request_that_took_little_is_no_reason_for_a_burst() -> None:
    """Those behind it have waited for long, and are due from now on: one after the other."""
    clock, times = Clock(), list[float]()
    pace = Pace(RateLimits(requests_per_s=1, tokens_per_s=100), clock, clock.sleep)

    async def large() -> None:
        _, estimate = await pace.turn(40_000)
        await clock.sleep(50)
        pace.took(Tokens(0, 0), estimate, 40_000)

    async def small() -> None:
        await pace.turn(1)
        times.append(clock.now - 100)

    async def everything() -> None:
        await clock.run(*[asyncio.create_task(one()) for one in (large, small, small, small)])

    asyncio.run(everything())
    assert times == [50, 51, 52]


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 40).map(float), st.none() | st.integers(1, 80), st.integers(0, 60)), max_size=40)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_never_faster_than_the_limit_whatever_is_cancelled(actions: list[Action]) -> None:
    times = sorted(sent_although(RateLimits(requests_per_s=0.5, tokens_per_s=20), *actions).values())
    assert all(later - earlier >= 2 - 1e-6 for earlier, later in itertools.pairwise(times))


def sent_after_pauses(limits: RateLimits, asks: Sequence[tuple[float, int, float]]) -> list[float]:
    """At each time: asks for so many turns, of 40 bytes, and lets nobody run for so long. Returns when they were sent."""
    clock, times = Clock(), list[float]()
    pace = Pace(limits, clock, clock.sleep)

    async def one() -> None:
        await pace.turn(40)
        times.append(clock.now - 100)

    async def act(at: float, turns: int, pause_s: float) -> None:
        await clock.sleep(at)
        work = [asyncio.create_task(one()) for _ in range(turns)]
        for _ in range(10):  # more than they need until they sleep, and fewer than the clock waits for
            await asyncio.sleep(0)
        clock.now += pause_s
        await asyncio.gather(*work)

    async def everything() -> None:
        await clock.run(*[asyncio.create_task(act(*ask)) for ask in asks])

    asyncio.run(everything())
    return sorted(times)


def test_what_was_due_in_a_pause_is_not_sent_at_its_end_at_once() -> None:
    """A thread that was busy with records, or with a commit: it makes up for a quarter of a second, and no more."""
    assert sent_after_pauses(RateLimits(requests_per_s=1), [(0, 4, 10)]) == [0, 10, 10.75, 11.75]
    assert sent_after_pauses(RateLimits(tokens_per_s=10), [(0, 4, 10)]) == [0, 10, 10.75, 11.75]
    assert sent_after_pauses(RateLimits(requests_per_s=1), [(0, 4, 1.25)]) == [0, 1.25, 2, 3], "a short one costs nothing"
    assert sent_after_pauses(RateLimits(requests_per_s=8), [(0, 5, 10)]) == [0, 10, 10, 10, 10.125], "two of a quarter"


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 200).map(lambda n: n / 10), st.integers(1, 20), st.integers(0, 5)), max_size=12)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_limit_holds_over_any_time_whatever_the_pauses(asks: list[tuple[float, int, float]]) -> None:
    times = sent_after_pauses(RateLimits(requests_per_s=4), asks)
    assert len(times) == sum(turns for _, turns, _ in asks)
    for i, j in itertools.combinations(range(len(times)), 2):
        assert times[j] - times[i] >= (j - i) / 4 - LATE_S - 1e-6


def test_those_in_another_thread_move_up_too() -> None:
    """They are asleep in another loop, which has to be woken."""
    now, asleep, sent = [0.0], threading.Event(), threading.Event()

    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    pace = Pace(RateLimits(requests_per_s=1), lambda: now[0], for_ever)

    async def another() -> None:
        turn = asyncio.ensure_future(pace.turn(1))
        await asyncio.sleep(0)
        asleep.set()
        await turn
        sent.set()

    async def work() -> None:
        await pace.turn(1)
        before = asyncio.ensure_future(pace.turn(1))
        await asyncio.sleep(0)
        threading.Thread(target=lambda: asyncio.run(another()), daemon=True).start()
        await asyncio.to_thread(asleep.wait)
        now[0] = 1.0
        before.cancel()
        await asyncio.gather(before, return_exceptions=True)
        assert await asyncio.to_thread(sent.wait, 60)

    asyncio.run(work())


def test_parts_of_a_limit() -> None:
    assert RateLimits(10, None).share(4) == RateLimits(2.5, None)
    assert RateLimits(None, 10).share(4) == RateLimits(None, 2.5)
    assert RateLimits().share(4) == RateLimits()


@pytest.mark.parametrize(
    ("requests_per_s", "rows", "expected"),
    [(None, 64, 32_768), (10.0, 1, 25), (10.0, 64, 1_600), (1 / 60, 64, 1), (1e9, 64, 32_768)],
)
def test_a_bundle_reads_what_can_be_sent_while_its_transaction_is_open(
    requests_per_s: float | None, rows: int, expected: int
) -> None:
    assert records_a_bundle(RateLimits(requests_per_s, 1.0), rows, 32_768) == expected


def test_who_keeps_a_pace_together() -> None:
    limits, shard = RateLimits(requests_per_s=77.5), RateLimits(requests_per_s=77.5, per_shard=True)
    assert pace_of("grpc://h:1/m", limits) is pace_of("grpc://h:1/m", limits)
    assert pace_of("grpc://h:1/m", limits) is not pace_of("grpc://h:1/n", limits)
    assert pace_of("grpc://h:1/m", shard) is not pace_of("grpc://h:1/m", shard)
