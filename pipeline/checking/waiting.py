"""``StartWait``: waits at the start for what the job needs and is not there yet (``--wait_for_start_s``).

After a reboot, or with ``docker compose up``, everything starts at once, and a model may take minutes to load. What waiting
does not cure (wrong names, refused credentials, a topic that does not exist) ends the start at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from transforms.errors import NotReadyError

log = logging.getLogger("pipeline")

ATTEMPT_S = 10.0
"""Seconds that a check waits for one answer."""

FIRST_ATTEMPT_S = 4.0
"""The same for the first attempt of a check that may be repeated: so the line that says who is waited for comes soon."""

PAUSE_S = 0.5
"""Seconds between two attempts."""

TOLD_EVERY_S = 30.0
"""Seconds after which the line that says who is waited for comes again."""

_Found = TypeVar("_Found")


class StartWait:
    """The wait of one start. Its checks run in several threads, and share the time.

    Args:
        wait_s: How long to wait in all, in seconds; 0 for one attempt.
        clock: Returns seconds, monotonic.
        pause: Waits for a number of seconds, or until ``give_up``; by default in real time.
        say: Shows a line to the user.
    """

    def __init__(
        self,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
        say: Callable[[str], None] = log.warning,
    ):
        self._wait_s, self._clock, self._say = wait_s, clock, say
        self._given_up = threading.Event()
        self._own_pause, self._pause = pause, pause or self._given_up.wait
        self._ends_at = clock() + wait_s

    def rest(self) -> StartWait:
        """Returns a wait for what is left of the time, also once this one was given up: for a check that comes later."""
        return StartWait(max(0.0, self._ends_at - self._clock()), self._clock, self._own_pause, self._say)

    def give_up(self) -> None:
        """Ends the wait: another check has found what no waiting cures."""
        self._given_up.set()

    def until_there(self, whom: str, check: Callable[[float], _Found]) -> _Found:
        """Repeats a check until it is answered.

        Args:
            whom: Who is asked, for the user.
            check: Asks once, and waits for the answer for as many seconds as it is given.

        Raises:
            NotReadyError: The time is up, or the wait was given up.
        """
        began, told_at = self._clock(), None
        attempt_s = FIRST_ATTEMPT_S if self._wait_s else ATTEMPT_S
        while True:
            try:
                found = check(attempt_s)
            except NotReadyError as error:
                now = self._clock()
                left_s = self._ends_at - now
                if left_s <= 0 or self._given_up.is_set():
                    raise
                if told_at is None or now - told_at >= TOLD_EVERY_S:
                    told_at = now
                    self._say(f"waiting for {whom}, for up to {left_s:.0f} s more (--wait_for_start_s): {error}")
                self._pause(min(PAUSE_S, left_s))
                attempt_s = ATTEMPT_S
            else:
                if told_at is not None:
                    self._say(f"{whom} is there after {self._clock() - began:.0f} s")
                return found
