"""``ReplayRate``: how many records a second are replayed at most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

STEP_S = 0.2
"""How long a wait takes no notice of the end."""


class ReplayRate:
    """Bounds a rate by waiting before each part. Time that was not used is not made up for.

    Args:
        rate: Records a second at most; ``None`` for no limit.
        clock: Seconds, monotonic.
        sleep: Waits so many seconds.
        draining: Whether to wait no longer.
    """

    def __init__(
        self,
        rate: int | None,
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._rate, self._draining, self._clock, self._sleep = rate, draining, clock, sleep
        self._next_at = clock()

    def part(self, most: int) -> int:
        """Returns how many records to replay at once, of ``most``: those of a fifth of a second."""
        return most if self._rate is None else max(1, min(most, math.ceil(self._rate * STEP_S)))

    def wait(self, records: int) -> None:
        """Waits until so many records may be replayed, or it is time to end."""
        if self._rate is None:
            return
        while (left_s := self._next_at - self._clock()) > 0 and not self._draining():
            self._sleep(min(left_s, STEP_S))
        self._next_at = max(self._next_at, self._clock()) + records / self._rate
