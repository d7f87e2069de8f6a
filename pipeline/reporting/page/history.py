"""What the page draws over time: a point every two seconds of the last ten minutes, and the model's versions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag
from pipeline.reporting.recent import Recent

INTERVAL_S = 2.0
POINTS = 300
LATENCY_S = 10.0
"""A point's latency is that of what was committed in so many seconds before it."""

MOST_CHANGES = 100
"""Changes of the model's version that are kept: the last ones."""


class Point(NamedTuple):
    """The figures of one moment.

    Attributes:
        at: Unix time.
        rate: Records a second.
        p50_ms: Median latency; ``None`` if nothing was committed.
        p99_ms: Its 99th percentile.
        in_flight: Requests in flight.
        lag: Records to go; ``None`` if they are not known.
    """

    at: float
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    in_flight: int
    lag: int | None


class Change(NamedTuple):
    """The versions that answer from a moment on.

    Attributes:
        at: Unix time.
        versions: The version that answered each worker last; two while one takes over.
    """

    at: float
    versions: tuple[str, ...]


class History:
    """Collects points.

    Args:
        totals: Returns the counters of all workers.
        lag: Returns the lag; ``None`` while it is not known.
        clock: Returns seconds, monotonic.
        day_clock: Returns Unix time.
    """

    def __init__(
        self,
        totals: Callable[[], Totals],
        lag: Callable[[], Lag | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        day_clock: Callable[[], float] = time.time,
    ):
        self._totals, self._lag, self._clock, self._day_clock = totals, lag, clock, day_clock
        self._recent = Recent(latency_s=LATENCY_S)
        self._recent.add(clock(), totals())
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)

    @property
    def points(self) -> list[Point]:
        """The points so far, the oldest first."""
        return list(self._points)

    @property
    def changes(self) -> list[Change]:
        """The changes of the model's version, the oldest first; the first one is the first answer."""
        return list(self._changes)

    def add(self) -> None:
        """Adds the point of this moment."""
        totals, now, lag = self._totals(), self._day_clock(), self._lag()
        self._recent.add(self._clock(), totals)
        p50, p99 = (self._recent.latency_ms(quantile) or None for quantile in (0.5, 0.99))
        records = None if lag is None else lag.records
        self._points.append(Point(now, round(self._recent.rate, 1), p50, p99, totals.in_flight, records))
        versions = tuple(totals.versions)
        if versions and (not self._changes or self._changes[-1].versions != versions):
            self._changes.append(Change(now, versions))

    @contextlib.contextmanager
    def collecting(self, interval_s: float = INTERVAL_S) -> Iterator[None]:
        """Adds a point at intervals while the block runs."""
        stop = threading.Event()

        def collect() -> None:
            while not stop.wait(interval_s):
                self.add()

        thread = threading.Thread(target=collect, name="history", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
