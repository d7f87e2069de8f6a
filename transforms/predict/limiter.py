"""The limiter of requests in flight: a fixed number, or one that adapts to the server.

The adaptive limit follows TCP Vegas (as Netflix's concurrency-limits does for RPCs). With the shortest round trip seen, the
number of requests that only wait in the server's queue is ``limit * (1 - shortest / average)``. If it is small, the limit
grows by one; if it is large, the limit shrinks by one. An answer that means overload halves the limit. The limit grows only
while requests wait for a slot.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Callable

from transforms.observe import observer

START = 16
MOST = 128
QUEUE_FEW = 3
QUEUE_MANY = 8
FORGET = 0.995
"""In each window the shortest round trip drifts to the average by this factor, so that a server which became slower is
noticed. It does not drift in a window that shrinks the limit: the time in the queue would be taken for the server's own
time. At the end of every bundle, when few requests are in flight, the true shortest round trip is measured again.
"""


class Limiter:
    """Slots for requests, given out in order. For one asyncio loop.

    Args:
        fixed: The number of slots; ``None`` adapts.
    """

    def __init__(self, fixed: int | None = None):
        self._adapts = fixed is None
        self.limit = START if fixed is None else fixed
        self.in_flight = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._turn_alone: asyncio.Future[None] | None = None
        self._urgent: Callable[[], bool] = lambda: True
        self._alone = False
        self._shortest_s = float("inf")
        self._sum_s = 0.0
        self._count = 0
        self._limited = False

    async def __aenter__(self) -> None:
        await self._enter(first=False)

    async def _enter(self, first: bool) -> None:
        paused = self._alone or self._pausing
        if self.in_flight < self.limit and not paused and (first or not self._waiting):
            self.in_flight += 1
            observer().requesting(self.in_flight, self.limit)
            return
        self._limited = self._limited or not paused
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn  # the task that wakes us has counted the slot as ours
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            elif turn in self._waiting:  # _wake may have removed the cancelled turn already
                self._waiting.remove(turn)
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        self._release()

    @contextlib.asynccontextmanager
    async def first(self) -> AsyncIterator[None]:
        """A slot before all that wait for one: for a request that decides what becomes of others."""
        await self._enter(first=True)
        try:
            yield
        finally:
            self._release()

    @contextlib.asynccontextmanager
    async def alone(self, urgent: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
        """All slots: waits until no request is in flight, and lets none start until the block ends. One at a time.

        Args:
            urgent: Whether requests that have no slot yet must wait for it. If not, it waits for them, too. It is asked
                again and again.
        """
        assert self._turn_alone is None, "one at a time"
        turn = self._turn_alone = asyncio.get_running_loop().create_future()
        self._urgent = urgent
        self._wake()
        try:
            await turn
            yield
        finally:
            self._turn_alone, self._alone = None, False
            self._wake()

    @property
    def _pausing(self) -> bool:
        """Whether someone waits for all slots, so that no other may take one."""
        return self._turn_alone is not None and self._urgent()

    def succeeded(self, latency_s: float) -> None:
        """Adapts to a request that was answered."""
        if not self._adapts:
            return
        self._shortest_s = min(self._shortest_s, latency_s)
        self._sum_s += latency_s
        self._count += 1
        if self._count >= self.limit:
            self._adapt()

    def overloaded(self) -> None:
        """Adapts to a request that failed by overload, a time-out or a lost connection."""
        if self._adapts:
            self.limit = max(1, self.limit // 2)
            self._start_window()

    def _adapt(self) -> None:
        average_s = self._sum_s / self._count
        queued = self.limit * (1 - self._shortest_s / average_s) if average_s > 0 else 0.0
        if queued > QUEUE_MANY and self.limit > 1:
            self.limit -= 1
        else:
            self._shortest_s = self._shortest_s * FORGET + average_s * (1 - FORGET)
            if queued < QUEUE_FEW and self._limited and self.limit < MOST:
                self.limit += 1
        self._start_window()
        self._wake()

    def _start_window(self) -> None:
        self._sum_s, self._count, self._limited = 0.0, 0, bool(self._waiting)

    def _release(self) -> None:
        self.in_flight -= 1
        self._wake()
        observer().requesting(self.in_flight, self.limit)

    def _wake(self) -> None:
        if self._turn_alone is not None and not self._alone and not self.in_flight and (not self._waiting or self._urgent()):
            self._alone = True
            if not self._turn_alone.done():
                self._turn_alone.set_result(None)
        if self._alone or self._pausing:
            return
        while self._waiting and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
