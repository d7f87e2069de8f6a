"""``Leaving``: when a job stops, requests that wait for the rate limits, or to be tried again under them, are not made.

Their records are left for the next run: they may wait for minutes. What was sent already is answered as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator

from transforms.errors import ScoringError


class NotAskedError(ScoringError):
    """A request was not made, because the job stops. Nothing is wrong with its records."""


class Leaving:
    """Whether requests that still wait for their turns are left, in one asyncio loop."""

    def __init__(self) -> None:
        self._begun = False
        self._sleeps: set[asyncio.Future[None]] = set()

    def begin(self) -> None:
        """From now on no request is made. To be called while the loop does not run."""
        self._begun = True
        for sleep in self._sleeps:
            sleep.cancel()

    def check(self) -> None:
        """Called before a request is made.

        Raises:
            NotAskedError: It is not to be made.
        """
        if self._begun:
            raise NotAskedError("not asked for: the job stops")

    async def sleep(self, sleep: Awaitable[None]) -> None:
        """Waits for a sleep between two requests, which ends when it begins.

        Raises:
            NotAskedError: The second one is not to be made.
        """
        sleeping = asyncio.ensure_future(sleep)
        try:
            with self.ending(sleeping):
                if not self._begun:
                    await asyncio.wait((sleeping,))
        finally:
            sleeping.cancel()
        self.check()
        sleeping.result()

    @contextlib.contextmanager
    def ending(self, sleep: asyncio.Future[None]) -> Iterator[None]:
        """Cancels a sleep in the block when it begins."""
        self._sleeps.add(sleep)
        try:
            yield
        finally:
            self._sleeps.discard(sleep)
