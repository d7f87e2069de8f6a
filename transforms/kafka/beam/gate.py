"""The gate: a DoFn after Beam's Java source, for ``--max_records``, ``--until_end``, ``--duration_s`` and draining.

The Java source supports none of these and can't be stopped, so the gate drops all further records when it is time to stop. A
dropped record is not scored and its offset is not committed, so the next run reads it. The gate counts in module state, so
it needs workers that are threads of the launching process (Prism, loopback workers). There
``pipeline/runners/follow_java.py`` reads the outputs.
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
    """The records that passed the gate of this process, and which of them have no output in Kafka yet. Thread-safe.

    Args:
        stop: When to stop.
        clock: Returns seconds, monotonic.

    Attributes:
        count: Number of records that passed.
    """

    def __init__(self, stop: StopConditions, clock: Callable[[], float] = time.monotonic):
        self._stop, self._clock = stop, clock
        self._end_offsets = dict(stop.end_offsets) if stop.end_offsets is not None else None
        self._lock = threading.Lock()
        self._next: dict[Partition, int] = {}
        self._in_flight: dict[Partition, dict[int, float]] = {}
        self.count = 0

    def admit(self, record: KafkaRecord) -> bool:
        """Counts a record and returns true, if it may pass."""
        partition = record.topic, record.partition
        with self._lock:
            if self._closed() or (self._end_offsets is not None and record.offset >= self._end_offsets.get(partition, 0)):
                return False
            self.count += 1
            self._next[partition] = max(record.offset + 1, self._next.get(partition, 0))
            self._in_flight.setdefault(partition, {})[record.offset] = self._clock()
            return True

    def written(self, topic: str, partition: int, offset: int) -> float | None:
        """Removes a record from those in flight: its output is in Kafka.

        Returns:
            The seconds since it was read; ``None`` if it did not pass this gate, or its output was seen before.
        """
        with self._lock:
            read_at = self._in_flight.get((topic, partition), {}).pop(offset, None)
        return None if read_at is None else self._clock() - read_at

    @property
    def in_flight(self) -> int:
        """Number of records that passed and have no output yet."""
        with self._lock:
            return sum(map(len, self._in_flight.values()))

    def positions(self) -> dict[Partition, int]:
        """Partition to the offset to commit: all records before it have their outputs in Kafka."""
        with self._lock:
            return {partition: min(self._in_flight.get(partition) or (offset,)) for partition, offset in self._next.items()}

    def is_complete(self) -> bool:
        """Whether the gate lets no further record pass."""
        return self._closed() or (self._end_offsets is not None and not self.missing())

    def missing(self) -> dict[Partition, tuple[int, int]]:
        """Returns the pending offsets of ``--until_end``: partition to first and end offset of what has not passed yet."""
        ends = self._end_offsets or {}
        with self._lock:
            found = {partition: (self._next.get(partition, 0), ends[partition]) for partition in self._stop.pending}
        return {partition: (at, end) for partition, (at, end) in found.items() if at < end}

    def skip_to(self, partition: Partition, offset: int) -> None:
        """Moves a partition's position to ``offset``: before it are only transaction markers or compacted records."""
        with self._lock:
            self._next[partition] = max(offset, self._next.get(partition, 0))

    def _closed(self) -> bool:
        enough = self._stop.max_records is not None and self.count >= self._stop.max_records
        return enough or draining() or time_is_up(self._stop)


_passed = Passed(StopConditions())


def open_gate(stop: StopConditions) -> Passed:
    """Resets the gate for the next job of this process."""
    global _passed
    _passed = Passed(stop)
    return _passed


class Gate(beam.DoFn):
    """Emits records until the conditions given to ``open_gate`` are met, then drops them."""

    def process(self, record: KafkaRecord) -> Iterator[KafkaRecord]:
        """Emits the record, or drops it."""
        if _passed.admit(record):
            yield record
