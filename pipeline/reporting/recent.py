"""What a job did lately: its speed and its latency, of the last seconds and not since the start."""

from __future__ import annotations

from collections import deque

from pipeline.process.stats import Totals

RATE_S = 5.0
"""The speed is an average over so many seconds: a bundle of thousands would make it jump."""

LATENCY_S = 30.0


class Recent:
    """The totals of the last half minute.

    Args:
        latency_s: The time of which the latency is.
    """

    def __init__(self, latency_s: float = LATENCY_S) -> None:
        self._latency_s = latency_s
        self._seen: deque[tuple[float, Totals]] = deque()

    def add(self, now: float, totals: Totals) -> None:
        """Takes the totals of the moment ``now``, in monotonic seconds."""
        while len(self._seen) > 1 and now - self._seen[1][0] >= self._latency_s:
            self._seen.popleft()
        self._seen.append((now, totals))

    @property
    def rate(self) -> float:
        """Records a second in the last ``RATE_S``."""
        if len(self._seen) < 2:
            return 0.0
        now, totals = self._seen[-1]
        then, before = next((seen for seen in reversed(self._seen) if now - seen[0] >= RATE_S), self._seen[0])
        return (totals.records - before.records) / (now - then) if now > then else 0.0

    def latency_ms(self, quantile: float) -> float:
        """A quantile of the latency in the last ``latency_s``, as ``Totals.latency_ms``; 0 if nothing was committed then."""
        if not self._seen:
            return 0.0
        return self._seen[-1][1].latency_ms(quantile, since=self._seen[0][1] if len(self._seen) > 1 else None)
