"""``Takeovers``: how long a shard waits, after another worker has fenced it, before it takes its partitions back.

Where a runner moves shards while a job runs (Dataflow), two workers may believe that they own the same shard: the old one
does not know of the move yet. Kafka prevents duplicates, because a worker that opens its session fences the other. But if
both came back at once, they would fence each other in turn, and neither would commit. Therefore each waits for a random
time, from a range that doubles each time it is fenced. Soon one of them is alone for longer than a bundle takes.

A worker that only lost its shard loses nothing by the wait: the runner gives it no more work for the shard.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Hashable

FIRST_S = 0.5
"""The longest wait after the first time."""

LONGEST_S = 30.0
"""The longest wait of all."""

QUIET_S = 120.0
"""Seconds since the last time after which it counts as the first time again."""

MANY = 6
"""So many times in a row are no move of a shard: something else goes on reading the same partitions."""


@dataclasses.dataclass(slots=True)
class _Fenced:
    times: int = 0
    at: float = 0.0
    until: float = 0.0


class Takeovers:
    """The waits of the shards of a process. For use by several threads, each with a shard of its own.

    Args:
        clock: Returns the seconds of a monotonic clock.
        jitter: Returns a random number from 0 to 1.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random):
        self._clock, self._jitter = clock, jitter
        self._of: dict[Hashable, _Fenced] = {}

    def fenced(self, shard: Hashable) -> int:
        """Notes that a shard was fenced; returns how many times in a row it was."""
        now = self._clock()
        found = self._of.get(shard)
        if found is None or now - found.at > QUIET_S:
            found = self._of[shard] = _Fenced()
        found.times += 1
        found.at = now
        found.until = now + self._jitter() * min(LONGEST_S, FIRST_S * 2 ** min(found.times - 1, 16))
        return found.times

    def wait_s(self, shard: Hashable) -> float:
        """Returns how many seconds a shard still has to wait before its session is opened; 0 if it may be now."""
        found = self._of.get(shard)
        return 0.0 if found is None else max(0.0, found.until - self._clock())
