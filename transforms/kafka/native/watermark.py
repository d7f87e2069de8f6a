"""Event time: the timestamp of a record's element, and the watermark of what is read.

An element has the time of its record in Kafka (``CreateTime`` or ``LogAppendTime``, as the topic has it), or the time of
reading, where the record has none.

The watermark is the minimum, over the owned partitions, of the newest timestamp read, and never later than now. A partition
that is read to its end holds it back by no more than ``IDLE_S``, so that windows close while nothing comes. The watermark
never goes back. Therefore two kinds of records may be late: those older than an earlier record of their partition, and those
of a newly assigned partition. The window's ``allowed_lateness`` is for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from transforms.kafka.config import Partition
from transforms.types import KafkaRecord

IDLE_S = 2.0
"""How far behind now the watermark of a partition is that is read to its end, as in Beam's Java KafkaIO: clocks differ."""

_LOWEST, _HIGHEST = MIN_TIMESTAMP.micros, GlobalWindow().max_timestamp().micros


def event_time(record: KafkaRecord, now: Callable[[], float] = time.time) -> Timestamp:
    """Returns the timestamp of a record's element, within what Beam takes."""
    micros = int(now() * 1_000_000) if record.timestamp_ms is None else record.timestamp_ms * 1000
    return Timestamp(micros=min(max(micros, _LOWEST), _HIGHEST))


class Timestamped(beam.DoFn):
    """Makes elements of a chunk's records, each with its event time."""

    def process(self, records: list[KafkaRecord]) -> Iterator[TimestampedValue]:
        """Emits the records in their order."""
        for record in records:
            yield TimestampedValue(record, event_time(record))


class Watermark:
    """The watermark of one reader.

    Args:
        now: Seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time):
        self._now = now
        self._newest: dict[Partition, float] = {}
        self._next: dict[Partition, int] = {}
        self._current: float | None = None

    def note(self, records: Iterable[KafkaRecord]) -> None:
        """Notes what was read."""
        for record in records:
            partition = record.topic, record.partition
            at = self._now() if record.timestamp_ms is None else record.timestamp_ms / 1000
            self._newest[partition] = max(at, self._newest.get(partition, at))
            self._next[partition] = record.offset + 1

    def current(self, owned: Iterable[Partition], ends: Mapping[Partition, int]) -> float | None:
        """Returns the watermark, in seconds since the epoch; ``None`` while nothing is known of a partition.

        Args:
            owned: The partitions that are read now. Others are forgotten: what is read of them later is of a new assignment.
            ends: Of the partitions that were read to their ends, the position there.
        """
        now, owned = self._now(), set(owned)
        for known in (self._newest, self._next):
            for partition in [it for it in known if it not in owned]:
                del known[partition]
        times = [self._of(partition, ends, now) for partition in owned]
        known_times = [it for it in times if it is not None]
        if times and len(known_times) == len(times):
            lowest = min(*known_times, now)
            self._current = lowest if self._current is None else max(self._current, lowest)
        return self._current

    def _of(self, partition: Partition, ends: Mapping[Partition, int], now: float) -> float | None:
        newest = self._newest.get(partition)
        if ends.get(partition, -1) >= self._next.get(partition, 0):
            return now - IDLE_S if newest is None else max(newest, now - IDLE_S)
        return newest
