"""``--max_records``, ``--until_end``, ``--duration_s`` and draining behind Beam's Java source, which knows none of them.

The source can't be told to stop, so a gate behind it lets no more records through. What it holds back was answered by
nobody and its offsets are not committed: the next run reads it. It counts in module state, so it is for runners whose
workers are threads of the launching process (Prism, loopback workers); there ``pipeline/runners/follow_java.py`` watches the
outputs come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import apache_beam as beam

from transforms.kafka.config import Partition
from transforms.kafka.stop import StopConditions, draining, time_is_up
from transforms.types import KafkaRecord


class Passed:
    """What the gate of this process has let through, and what of it is still to be seen in Kafka; for several threads.

    Args:
        stop: When to stop.
        clock: Seconds, monotonic.

    Attributes:
        count: Records that went through.
    """

    def __init__(self, stop: StopConditions, clock: Callable[[], float] = time.monotonic):
        self._stop, self._clock = stop, clock
        self._until = dict(stop.until) if stop.until is not None else None
        self._lock = threading.Lock()
        self._next: dict[Partition, int] = {}
        self._in_flight: dict[Partition, dict[int, float]] = {}
        self.count = 0

    def admit(self, record: KafkaRecord) -> bool:
        """Counts a record, if it may go through."""
        partition = record.topic, record.partition
        with self._lock:
            if self._closed() or (self._until is not None and record.offset >= self._until.get(partition, 0)):
                return False
            self.count += 1
            self._next[partition] = max(record.offset + 1, self._next.get(partition, 0))
            self._in_flight.setdefault(partition, {})[record.offset] = self._clock()
            return True

    def written(self, topic: str, partition: int, offset: int) -> float | None:
        """Notes that a record's output is in Kafka.

        Returns:
            The seconds since it was read; ``None`` if it is not one of ours, or was seen before.
        """
        with self._lock:
            read_at = self._in_flight.get((topic, partition), {}).pop(offset, None)
        return None if read_at is None else self._clock() - read_at

    @property
    def in_flight(self) -> int:
        """How many records went through and are not written yet."""
        with self._lock:
            return sum(map(len, self._in_flight.values()))

    def positions(self) -> dict[Partition, int]:
        """Partition to the offset before which everything is written."""
        with self._lock:
            return {partition: min(self._in_flight.get(partition) or (offset,)) for partition, offset in self._next.items()}

    def is_complete(self) -> bool:
        """Whether no more will go through."""
        return self._closed() or (self._until is not None and not self.missing())

    def missing(self) -> dict[Partition, tuple[int, int]]:
        """Partition to the offsets from which on, and before which, records may still have to come."""
        ends = self._until or {}
        with self._lock:
            found = {partition: (self._next.get(partition, 0), ends[partition]) for partition in self._stop.behind}
        return {partition: (at, end) for partition, (at, end) in found.items() if at < end}

    def skip_to(self, partition: Partition, offset: int) -> None:
        """Notes that there is no record before ``offset`` any more: transaction markers, or what compaction left."""
        with self._lock:
            self._next[partition] = max(offset, self._next.get(partition, 0))

    def _closed(self) -> bool:
        enough = self._stop.max_records is not None and self.count >= self._stop.max_records
        return enough or draining() or time_is_up(self._stop)


_passed = Passed(StopConditions())


def open_gate(stop: StopConditions) -> Passed:
    """Begins to count, for the next job of this process."""
    global _passed
    _passed = Passed(stop)
    return _passed


class Gate(beam.DoFn):
    """Lets records through until it is time to stop: ``open_gate``."""

    def process(self, record: KafkaRecord) -> Iterator[KafkaRecord]:
        """Lets the record through, or holds it back."""
        if _passed.admit(record):
            yield record
