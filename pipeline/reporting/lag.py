"""The lag while a job runs: how many records are to go, in each partition, and how long it will take."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from transforms.kafka.config import Partition

LOOK_S = 2.0
"""Seconds from one look at Kafka to the next."""

WINDOW_S = 30.0
"""The time to go is that of the speed in so many seconds."""

STALE_S = 60.0
"""A lag that is older is not shown: Kafka has not answered since."""


@dataclasses.dataclass(frozen=True)
class Lag:
    """The lag at one moment.

    Attributes:
        partitions: Partition to the number of records after the committed offset.
        to_go_s: Seconds until nothing is left, if it goes on as in the last ``WINDOW_S``; ``None`` if it grows.
    """

    partitions: Mapping[Partition, int]
    to_go_s: float | None = None

    @property
    def records(self) -> int:
        """The records of all partitions."""
        return sum(self.partitions.values())

    @property
    def text(self) -> str:
        """Such as ``1,200 to go (about 3 min)``."""
        return f"{self.records:,} to go" + (f" (about {duration(self.to_go_s)})" if self.to_go_s is not None else "")

    def summary(self) -> dict[str, object]:
        """Returns its part of ``--summary_json``."""
        by_partition = {f"{topic}/{number}": count for (topic, number), count in sorted(self.partitions.items())}
        return {"records": self.records, "by_partition": by_partition}


def lag_shown(lag: Lag | None, holding: str) -> Lag | None:
    """Returns the lag as it is told now. While the job holds, nobody knows how long it will take.

    Args:
        lag: The lag.
        holding: What the job waits for; empty if it does not hold.
    """
    return dataclasses.replace(lag, to_go_s=None) if lag is not None and holding else lag


class Looks(Protocol):
    """Where the numbers come from: ``GroupLag``."""

    def look(self, timeout_s: float = ...) -> dict[Partition, int] | None:
        """Partition to the number of records to go; ``None`` if they are not known now."""

    def close(self) -> None:
        """Closes the connections."""


class LagWatch:
    """Looks at the lag at intervals, in a thread of its own: Kafka may take seconds to answer, or not answer at all.

    Args:
        open_lag: Makes the source of the numbers, in that thread.
        clock: Returns seconds, monotonic.
    """

    def __init__(self, open_lag: Callable[[], Looks], clock: Callable[[], float] = time.monotonic):
        self._open, self._clock = open_lag, clock
        self._seen: deque[tuple[float, int]] = deque()
        self._lag: Lag | None = None
        self._at = float("-inf")

    @property
    def latest(self) -> Lag | None:
        """The last lag; ``None`` if there was none lately."""
        return self._lag if self._clock() - self._at < STALE_S else None

    def note(self, partitions: Mapping[Partition, int] | None) -> None:
        """Takes what one look has found."""
        if not partitions:
            return
        now, records = self._clock(), sum(partitions.values())
        while self._seen and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        self._seen.append((now, records))
        then, before = self._seen[0]
        to_go_s = records * (now - then) / (before - records) if records and before > records else None
        self._lag, self._at = Lag(dict(partitions), to_go_s), now

    @contextlib.contextmanager
    def watching(self, interval_s: float = LOOK_S) -> Iterator[None]:
        """Looks at intervals while the block runs, and once more at its end."""
        stop = threading.Event()

        def watch() -> None:
            source = self._open()
            try:
                while not stop.wait(interval_s):
                    self.note(source.look())
                found = source.look(LOOK_S)
                self._lag = None  # what is told at the end is of the end
                self.note(found)
            finally:
                source.close()

        thread = threading.Thread(target=watch, name="lag", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(3 * LOOK_S + 1)  # three requests; a broker that is gone keeps nobody here
            if thread.is_alive():
                self._lag = None


def duration(seconds: float) -> str:
    """Returns a duration in words, in one unit: ``40 s``, ``3 min``, ``5 h``, ``2 days``."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
