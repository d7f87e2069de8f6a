"""Calls run beside each other, threads are used again, and one that hangs keeps nobody waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from transforms.predict.daemon_threads import MOST_THREADS, DaemonThreads


@pytest.fixture
def threads() -> Iterator[DaemonThreads]:
    pool = DaemonThreads()
    yield pool
    assert pool.leave(60) == 0


def test_results_and_exceptions(threads: DaemonThreads) -> None:
    async def both() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads)
        assert await loop.run_in_executor(None, divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divmod, 7, 0)

    asyncio.run(both())


def test_as_many_run_at_once_as_may(threads: DaemonThreads) -> None:
    """The next one waits. It has no thread of its own, and all of them are daemons: a process ends without them."""
    running, ended = threading.Semaphore(0), threading.Event()
    of: list[threading.Thread] = []

    def call() -> None:
        of.append(threading.current_thread())
        running.release()
        ended.wait(60)

    futures = [threads.submit(call) for _ in range(MOST_THREADS + 1)]
    for _ in range(MOST_THREADS):
        assert running.acquire(timeout=60)
    assert not running.acquire(blocking=False)
    assert len(set(of)) == MOST_THREADS
    assert all(thread.daemon for thread in of)
    ended.set()
    for future in futures:
        future.result(60)
    assert len(set(of)) == MOST_THREADS


def test_a_cancelled_call_does_not_run(threads: DaemonThreads) -> None:
    ended = threading.Event()
    for _ in range(MOST_THREADS):
        threads.submit(ended.wait, 60)
    ran: list[bool] = []
    assert threads.submit(ran.append, True).cancel()
    ended.set()
    threads.leave(60)
    assert not ran


def test_what_hangs_is_left() -> None:
    threads, ended = DaemonThreads(), threading.Event()
    hanging = threads.submit(ended.wait, 60)
    assert threads.submit(int, "7").result(60) == 7
    assert threads.leave(0) >= 1
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(int)
    ended.set()
    assert hanging.result(60), "a result that nobody waits for disturbs nobody"
    assert threads.leave(60) == 0
