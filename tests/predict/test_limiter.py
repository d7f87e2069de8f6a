"""Slots: never more than the limit, in order, none lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from transforms.predict.adaptive_limit import SLOW_START, START
from transforms.predict.limiter import Limiter


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_fixed_limit_is_kept_and_never_changes() -> None:
    clock, most = Clock(), 0
    limiter = Limiter(3, clock)

    async def request() -> None:
        nonlocal most
        async with limiter as slot:
            most = max(most, limiter.in_flight)
            await asyncio.sleep(0)
            clock.now += 0.1
            limiter.succeeded(slot)

    async def run() -> None:
        await asyncio.gather(*(request() for _ in range(200)))

    asyncio.run(run())
    limiter.overloaded()
    assert (most, limiter.limit, limiter.in_flight) == (3, 3, 0)


def test_a_higher_limit_lets_those_start_that_wait_and_a_lower_one_lets_none() -> None:
    """As soon as an answer raises it: not with the end of the next request."""

    async def run() -> None:
        clock = Clock()
        limiter = Limiter(None, clock)
        slots = [await limiter.__aenter__() for _ in range(START)]
        waiting = [asyncio.ensure_future(limiter.__aenter__()) for _ in range(100)]
        await asyncio.sleep(0)
        clock.now += 0.2
        for slot in slots:
            limiter.succeeded(slot)
        assert limiter.limit == SLOW_START * START
        assert limiter.in_flight == limiter.limit
        limiter.overloaded()
        assert limiter.limit == START, "the growth is taken back"
        for _ in range(limiter.in_flight - START):
            await limiter.__aexit__()
        assert limiter.in_flight == START
        await asyncio.sleep(0)
        assert sum(it.done() for it in waiting) == SLOW_START * START - START
        for it in waiting:
            it.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())


def test_after_a_cut_no_slot_is_given_until_fewer_are_in_flight() -> None:
    async def run() -> None:
        limiter = Limiter()
        for _ in range(START):
            await limiter.__aenter__()
        limiter.overloaded()
        waiting = asyncio.ensure_future(limiter.__aenter__())
        for in_flight in range(START - 1, limiter.limit - 1, -1):
            await limiter.__aexit__()
            await asyncio.sleep(0)
            assert limiter.in_flight == in_flight
            assert not waiting.done()
        await limiter.__aexit__()
        await waiting
        assert limiter.in_flight == limiter.limit

    asyncio.run(run())


def test_slots_are_given_in_the_order_of_asking() -> None:
    order: list[int] = []

    async def run() -> None:
        limiter = Limiter(2)

        async def request(number: int) -> None:
            async with limiter:
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(number) for number in range(20)))

    asyncio.run(run())
    assert order == list(range(20))


def test_nobody_overtakes_those_who_wait() -> None:
    """A slot that is free because the one woken has not run yet is not free."""
    order: list[str] = []

    async def run() -> None:
        limiter = Limiter(1)

        async def request(name: str) -> None:
            async with limiter:
                order.append(name)

        await limiter.__aenter__()
        waiting = asyncio.ensure_future(request("first"))
        await asyncio.sleep(0)
        await limiter.__aexit__()  # wakes "first", which has not run yet
        await request("second")
        await waiting

    asyncio.run(run())
    assert order == ["first", "second"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=30), st.integers(1, 4))
def test_cancelling_at_any_moment_leaks_no_slot(cancels: list[tuple[int, int]], slots: int) -> None:
    """Holders and waiters are cancelled, some at the very moment a slot is given to them: all slots come back."""

    async def run() -> None:
        limiter = Limiter(slots)

        async def request() -> None:
            async with limiter:
                assert limiter.in_flight <= slots
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(request()) for _ in range(10)]
        for victim, steps in cancels:
            for _ in range(steps):
                await asyncio.sleep(0)
            tasks[victim].cancel()
        done, stuck = await asyncio.wait(tasks, timeout=60)
        assert not stuck, "a slot was lost"
        results = await asyncio.gather(*done, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
        assert limiter.in_flight == 0
        async with asyncio.timeout(60):
            for _ in range(slots + 1):
                async with limiter:
                    pass

    asyncio.run(run())


def test_holders_and_waiters_cancelled_together() -> None:
    """As a bundle that is given up does: each must see its cancellation, and nothing else."""

    async def run() -> None:
        limiter = Limiter(1)

        async def request() -> None:
            async with limiter:
                await asyncio.Event().wait()

        tasks = [asyncio.ensure_future(request()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 5
        assert limiter.in_flight == 0

    asyncio.run(run())
