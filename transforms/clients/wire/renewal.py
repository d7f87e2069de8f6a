"""``Renewal``: renews what a client logs in with, one renewal at a time, in a task that no single request owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from transforms.errors import UnavailableError


class Renewal:
    """The renewals of one client's credentials. For one asyncio loop.

    Args:
        renew: Renews them.
        again_s: Seconds between two attempts while the old ones are still valid.
        what: What is waited for, for error messages.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self, renew: Callable[[], Coroutine[None, None, None]], again_s: float, what: str, clock: Callable[[], float]
    ):
        self._renew, self._again_s, self._what, self._clock = renew, again_s, what, clock
        self._again_at = clock()
        self._task: asyncio.Task[None] | None = None

    async def done(self) -> None:
        """Waits for the renewal in progress, or for a new one.

        Raises:
            UnavailableError: The client was closed meanwhile.
            ModelError: As ``renew`` raises it.
        """
        task = self._begin()
        # asyncio.wait, not await: many requests wait for this task, and the cancellation of one must not cancel it.
        await asyncio.wait([task])
        if task.cancelled():
            raise UnavailableError(f"the client was closed while it waited for {self._what}")
        task.result()

    def try_again(self) -> None:
        """Begins one in the background, unless one is in progress or began less than ``again_s`` ago."""
        if self._clock() >= self._again_at:
            self._begin()

    def _begin(self) -> asyncio.Task[None]:
        if self._task is None or self._task.done():
            self._again_at = self._clock() + self._again_s
            self._task = asyncio.create_task(self._renew())
            # Retrieves the exception, or asyncio warns. A failed renewal in the background is tried again; once the old
            # credentials are of no use, the request that waits for the renewal raises its error.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    async def close(self) -> None:
        """Cancels a renewal in progress."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
