"""``DaemonThreads``: the executor of an asyncio loop that may be left while a call in it hangs.

asyncio looks names up in its default executor, by a call of the system that nothing can end. The executor of the standard
library waits for such a call when the loop is closed, and once more when the process ends: a drain would last as long.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 16
"""Calls that come while so many are running wait for one to end."""


class DaemonThreads(concurrent.futures.ThreadPoolExecutor):  # asyncio takes no other class; its threads are never started
    """Threads that end with the process, whatever they are at. ``submit`` and ``leave`` are for one thread."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Runs a call in a thread.

        Raises:
            RuntimeError: It was shut down.
        """
        if self._closed:
            raise RuntimeError("the threads of this loop were shut down")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._calls.put(lambda: _run(future, fn, args, kwargs))
        if not self._idle.acquire(blocking=False) and len(self._started) < MOST_THREADS:
            thread = threading.Thread(target=self._work, name=f"predict-{len(self._started)}", daemon=True)
            self._started.append(thread)
            thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls, and waits for none. Threads without a call end."""
        if not self._closed:
            self._closed = True
            for _ in self._started:
                self._calls.put(None)

    def leave(self, within_s: float) -> int:
        """Shuts down, and gives the calls under way so many seconds; returns how many are left to themselves."""
        self.shutdown()
        until_s = time.monotonic() + within_s
        for thread in self._started:
            thread.join(max(0.0, until_s - time.monotonic()))
        return sum(thread.is_alive() for thread in self._started)

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                self._idle.release()
                call = self._calls.get()
            if call is None:
                return
            call()


def _run(future: concurrent.futures.Future[T], fn: Callable[..., T], args: Any, kwargs: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
