"""``OutstandingBundles``: bundles that were read and that the runner has not said to be durable, and what may be committed.

The rule for a source without ``WriteToKafka``: the offsets of a bundle may be committed once the runner has finalised it and
every bundle that was read before it. So the commit of a later bundle never covers the records of an earlier one that failed,
whatever the order in which the runner finalises them. A bundle that is never finalised holds back all that come after it,
until they are read again.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from transforms.kafka.config import Partition


@dataclasses.dataclass(slots=True, eq=False)
class OutstandingBundle:
    """A bundle that was read, and is with the runner.

    Attributes:
        next: Partition to the offset after the last one read.
        records: The number of records read.
        read_at: When reading it ended, in seconds of the session's clock.
        final: Whether the runner has said that what became of it is durable.
    """

    next: dict[Partition, int]
    records: int
    read_at: float
    final: bool = False

    def finalise(self) -> None:
        """Notes that it is durable. The runner's callback: any thread may call it, at any time, also when nobody waits."""
        self.final = True  # one assignment, so no lock: who commits looks at it later


class OutstandingBundles:
    """The outstanding bundles of a session, in the order in which they were read. For one thread, but for ``finalise``."""

    def __init__(self) -> None:
        self._bundles: collections.deque[OutstandingBundle] = collections.deque()

    def __len__(self) -> int:
        return len(self._bundles)

    def add(self, bundle: OutstandingBundle) -> None:
        """Adds a bundle that was read after all that are there."""
        self._bundles.append(bundle)

    def take_final(self) -> dict[Partition, int]:
        """Removes the bundles that are final and have none before them that is not; returns the offsets to commit."""
        offsets: dict[Partition, int] = {}
        while self._bundles and self._bundles[0].final:
            offsets.update(self._bundles.popleft().next)
        return offsets

    def position(self, partition: Partition) -> int:
        """Returns the offset after the last one read of a partition in an outstanding bundle; -1 where there is none."""
        return max((bundle.next.get(partition, -1) for bundle in self._bundles), default=-1)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forgets partitions that were revoked or lost: another member may have gone on with them, or go back with them."""
        for partition in partitions:
            for bundle in self._bundles:
                bundle.next.pop(partition, None)

    def drop_all(self) -> int:
        """Drops all bundles, whose records are read again; returns the number of records. Finalising them has no effect."""
        records = sum(bundle.records for bundle in self._bundles)
        self._bundles.clear()
        return records

    @property
    def waiting_since(self) -> float | None:
        """When the oldest bundle that is not final was read; ``None`` if there is none."""
        return next((bundle.read_at for bundle in self._bundles if not bundle.final), None)
