"""``Limiter``: slots for requests in flight, of a fixed number, or of one that adapts to the server (``AdaptiveLimit``)."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from transforms.observe import observer
from transforms.predict.adaptive_limit import AdaptiveLimit, Slot


class Limiter:
    """Slots for requests, given out in order. For one asyncio loop.

    Args:
        fixed: The number of slots; ``None`` adapts.
        clock: Returns seconds, monotonic.
    """

    def __init__(self, fixed: int | None = None, clock: Callable[[], float] = time.monotonic):
        self._fixed, self._adaptive = fixed, AdaptiveLimit(clock)
        self.in_flight = 0
        self._waiting: collections.deque[asyncio.Future[Slot]] = collections.deque()
        self._turn_alone: asyncio.Future[None] | None = None
        self._urgent: Callable[[], bool] = lambda: True
        self._alone = False

    @property
    def limit(self) -> int:
        """How many slots there are."""
        return self._adaptive.limit if self._fixed is None else self._fixed

    async def __aenter__(self) -> Slot:
        return await self._enter(first=False)

    async def _enter(self, first: bool) -> Slot:
        paused = self._alone or self._pausing
        if self.in_flight < self.limit and not paused and (first or not self._waiting):
            slot = self._give()
            observer().requesting(self.in_flight, self.limit)
            return slot
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            return await turn  # the task that wakes us has counted the slot as ours
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

    def succeeded(self, slot: Slot) -> None:
        """Adapts to a request that was answered just now."""
        if self._fixed is None:
            before = self._adaptive.limit
            self._adaptive.answered(slot)
            if self._adaptive.limit > before:
                self._wake()

    def overloaded(self) -> None:
        """Adapts to a request that failed by overload, a time-out or a lost connection."""
        if self._fixed is None:
            self._adaptive.overloaded()

    def _give(self) -> Slot:
        self.in_flight += 1
        return self._adaptive.give(self.in_flight)

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
                turn.set_result(self._give())
