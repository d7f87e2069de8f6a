"""``PausingClock``: the time in which the requests' loop may run. It stands still between two bundles.

Requests that are carried over are in flight meanwhile, and nobody hears their answers: a commit that takes long must not
let their deadlines pass, nor count as the model server's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class PausingClock:
    """Seconds, monotonic, without the pauses.

    Args:
        clock: Returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._paused_s = 0.0
        self._paused_at: float | None = None

    def __call__(self) -> float:
        """Returns the seconds."""
        return (self._clock() if self._paused_at is None else self._paused_at) - self._paused_s

    def pause(self) -> None:
        """Stands still until ``go_on``."""
        if self._paused_at is None:
            self._paused_at = self._clock()

    def go_on(self) -> None:
        """Ends a pause, if there is one."""
        if self._paused_at is not None:
            self._paused_s += self._clock() - self._paused_at
            self._paused_at = None
