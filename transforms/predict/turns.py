"""``Turns``: who waits for the rate limits, in order, and when each of them is due.

A cancelled turn leaves its time to the turns behind it only. If a turn before it took that time, it would be sent early, and
the rate would exceed the limit. If a request takes more or fewer tokens than estimated, all waiting turns move.

A turn may be taken late, because its thread was busy with records or with a commit. Up to ``LATE_S`` of the delay is made up
for; the turns behind it wait for the rest. Otherwise all turns that became due in a long pause would be sent at once.

Each turn sleeps in the asyncio loop of its own thread until it is due. If turns become due earlier, only the first one of
each loop is woken; it wakes the next one when it is sent. Waking all would cost a thousand tasks for each answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable

LATE_S = 0.25
"""How late a turn may be taken without moving those behind it. In any time more requests are sent than the limit says by
those of this time at most."""


class Turn:
    """The turn of one request. To be made in the loop where it waits.

    Attributes:
        tokens: How many the request is estimated to take.
        at: When it may be sent.
    """

    def __init__(self, tokens: float):
        self.tokens, self.at = tokens, 0.0
        self._loop = asyncio.get_running_loop()
        self._sleep: asyncio.Future[None] | None = None
        self._sleeps_until = 0.0

    def sleeps(self, sleep: Awaitable[None]) -> asyncio.Future[None]:
        """Returns the sleep until it is due, to be awaited by ``asyncio.wait``: it may be cancelled, and is then over."""
        self._sleep, self._sleeps_until = asyncio.ensure_future(sleep), self.at
        return self._sleep

    def wake(self) -> None:
        """Ends the sleep if the turn is due before. May be called in any thread."""
        if self._sleep is not None and self.at < self._sleeps_until:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._sleep.cancel)

    def waits_beside(self, other: Turn) -> bool:
        """Whether both wait in the same loop."""
        return self._loop is other._loop


class Turns:
    """The turns that wait. Not thread-safe: the caller has a lock.

    Args:
        request_s: Seconds from one request to the next; 0 without a limit.
        token_s: Seconds that a token takes; 0 without a limit.
    """

    def __init__(self, request_s: float, token_s: float):
        self._request_s, self._token_s = request_s, token_s
        self._waiting: dict[Turn, None] = {}
        # When the next one is due by each of the limits: after those that were sent, and after those that wait as well.
        self._after_sent = self._after_all = (0.0, 0.0)

    def add(self, turn: Turn, now: float) -> None:
        """Places a turn behind all others."""
        turn.at = max(*self._after_all, now)
        self._after_all = self._after(turn)
        self._waiting[turn] = None

    def take(self, turn: Turn, now: float) -> bool:
        """Takes a turn that is due; returns whether its request may be sent. If not, those who wait are placed anew.

        A turn that is taken has a place between ``now - LATE_S`` and ``now``, and the next one's is later by its cost,
        whoever takes it: that is why the limit holds, also where one thread is late and another is not.
        """
        turn.at = max(*self._after_sent, turn.at, now - LATE_S)
        if turn.at > now:
            self._place(now)
            return False
        del self._waiting[turn]
        self._after_sent = self._after(turn)
        following = next((other for other in self._waiting if other.waits_beside(turn)), None)
        if following is not None:
            following.wake()
        return True

    def gone(self, turn: Turn, now: float) -> None:
        """The request is not sent after all."""
        del self._waiting[turn]
        self._place(now)

    def spent(self, requests: int, now: float) -> None:
        """So many requests were sent without a turn."""
        by_requests, by_tokens = self._after_sent
        self._after_sent = max(by_requests, now) + requests * self._request_s, by_tokens
        self._place(now)

    def correct(self, tokens: float, now: float) -> None:
        """What was sent has taken so many tokens more, or fewer if it is negative."""
        by_requests, by_tokens = self._after_sent
        self._after_sent = by_requests, by_tokens + tokens * self._token_s
        self._place(now)

    def _place(self, now: float) -> None:
        """Places all anew. None is due before now that was not: those behind it would be, too, and go out at once."""
        self._after_all = self._after_sent
        woken: list[Turn] = []
        for turn in self._waiting:
            turn.at = max(*self._after_all, min(turn.at, now))
            self._after_all = self._after(turn)
            if not any(turn.waits_beside(other) for other in woken):
                turn.wake()
                woken.append(turn)

    def _after(self, turn: Turn) -> tuple[float, float]:
        return turn.at + self._request_s, turn.at + turn.tokens * self._token_s
