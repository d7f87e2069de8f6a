"""Slots: never more than the limit, in order, none lost; the limit follows what the server can take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from transforms.predict.limiter import MOST, QUEUE_MANY, START, Limiter


def drive(limiter: Limiter, latency_s: Callable[[int], float], requests: int, at_once: int) -> int:
    """Sends requests, never more than ``at_once`` of them waiting or in flight; returns how many were in flight at most."""
    most, highest = 0, limiter.limit

    async def request(gate: asyncio.Semaphore) -> None:
        nonlocal most, highest
        async with gate:
            async with limiter:
                most = max(most, limiter.in_flight)
                highest = max(highest, limiter.limit)
                assert limiter.in_flight <= highest
                took_s = latency_s(limiter.in_flight)
                for _ in range(3):
                    await asyncio.sleep(0)
            limiter.succeeded(took_s)

    async def run() -> None:
        gate = asyncio.Semaphore(at_once)
        await asyncio.gather(*(request(gate) for _ in range(requests)))

    asyncio.run(run())
    return most


def test_a_fixed_limit_is_kept_and_never_changes() -> None:
    limiter = Limiter(3)
    assert drive(limiter, lambda _: 0.01, 200, 50) == 3
    limiter.overloaded()
    assert limiter.limit == 3
    assert limiter.in_flight == 0


def test_it_grows_while_it_holds_back_and_the_latency_stays_flat() -> None:
    limiter = Limiter()
    drive(limiter, lambda _: 0.01, 15_000, 300)
    assert limiter.limit == MOST


def test_it_grows_when_all_requests_came_at_once() -> None:
    """A bundle sends all of its batches before the first answer: those that wait are held back, though none comes anew."""
    limiter = Limiter()
    drive(limiter, lambda _: 0.01, 2_000, 2_000)
    assert limiter.limit > START + 20


def test_it_does_not_grow_while_nothing_is_held_back() -> None:
    limiter = Limiter()
    drive(limiter, lambda _: 0.01, 5_000, START - 1)
    assert limiter.limit == START


def test_it_shrinks_when_requests_only_wait_in_the_servers_queue() -> None:
    """A server that works on 4 at a time: what is above only queues, and latency grows with it. In bundles, as ever."""
    limiter = Limiter()
    limiter.limit = 100
    limits = []
    for _ in range(40):
        drive(limiter, lambda in_flight: 0.01 * max(1.0, in_flight / 4), 256, 256)
        limits.append(limiter.limit)
    assert min(limits) >= 4
    assert max(limits[30:]) <= 4 + QUEUE_MANY + 1


def test_it_recovers_on_a_server_that_has_become_slower_for_good() -> None:
    """Ten times slower, but no queue: the old round trip is forgotten."""
    limiter = Limiter()
    drive(limiter, lambda _: 0.01, 1_000, 100)
    drive(limiter, lambda _: 0.1, 20_000, 300)
    assert limiter.limit > START


def test_overload_halves_it_but_leaves_one() -> None:
    limiter = Limiter()
    limits = []
    for _ in range(6):
        limiter.overloaded()
        limits.append(limiter.limit)
    assert limits == [8, 4, 2, 1, 1, 1]
    drive(limiter, lambda _: 0.01, 2_000, 100)
    assert limiter.limit > 8, "it recovers"


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
