"""The progress of a consumer group, seen from outside: its committed offsets against the end offsets of the topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.kafka.admin.lag import lag_of
from transforms.kafka.admin_client import open_admin
from transforms.kafka.committed import CommittedOffsets
from transforms.kafka.config import KafkaConfig, Partition

ASK_S = 5.0
ENDS_S = 2.0


class Progress:
    """Reads the progress of a group without joining it. While Kafka does not answer, it returns the last known values.

    Args:
        config: The job's Kafka configuration.
        partitions: The partitions to look at.
        clock: Returns seconds, monotonic.
        open_consumer: Makes the consumer.
        open_admin: Makes the admin client.

    Attributes:
        identities: The identities of the topics, as Kafka said them last, where an offset names one.
    """

    def __init__(
        self,
        config: KafkaConfig,
        partitions: Sequence[Partition],
        clock: Callable[[], float] = time.monotonic,
        open_consumer: Callable[..., Any] = ck.Consumer,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
    ):
        self._clock, self._partitions = clock, list(partitions)
        self._consumer = open_consumer({**config.consumer_properties(), "log_level": 0})
        self._committed = CommittedOffsets(config, self._consumer, open_admin)
        self._first: dict[Partition, int] = {}
        self._offsets: dict[Partition, int] = {}
        self._now: dict[Partition, int] = {}
        self.identities: Mapping[str, str] = {}
        self._ends: dict[Partition, int] = {}
        self._ends_at = float("-inf")
        self._moved_at = clock()
        self._began_at: float | None = None
        self._former = 0
        self.look()
        self._first = {partition: self._offsets.get(partition, self._low(partition)) for partition in self._partitions}

    @property
    def still_s(self) -> float:
        """Seconds since a committed offset last moved."""
        return self._clock() - self._moved_at

    @property
    def moving_s(self) -> float:
        """Seconds from the first move of a committed offset to the last."""
        return 0.0 if self._began_at is None else self._moved_at - self._began_at

    def look(self) -> int:
        """Reads the committed offsets; returns how many records they have advanced since the start.

        Where a topic was made again, what the group has answered of the former one stays counted.
        """
        try:
            found = self._committed.ask(self._partitions, ASK_S)
        except ck.KafkaException:
            offsets = {}
        else:
            offsets = {(tp.topic, tp.partition): tp.offset for tp in found.offsets if tp.error is None and tp.offset >= 0}
            self._now, self.identities = offsets, found.identities
        for partition, offset in offsets.items():
            if offset < self._offsets.get(partition, 0):  # offsets go back with another topic only
                self._former += self._offsets[partition] - self._first.get(partition, self._offsets[partition])
                self._first[partition] = 0
        if self._offsets | offsets != self._offsets:
            self._offsets |= offsets
            self._moved_at = self._clock()
        advanced = self._former
        advanced += sum(offset - self._first.get(partition, offset) for partition, offset in self._offsets.items())
        if advanced and self._began_at is None:  # the first offsets, which a job commits before it reads, are no move
            self._began_at = self._moved_at
        return advanced

    def left(self) -> int:
        """Returns the lag: how many records the topics have after the committed offsets."""
        if self._clock() - self._ends_at > ENDS_S:
            self._ends_at = self._clock()
            self._ends |= {partition: high for partition in self._partitions if (high := self._high(partition)) is not None}
        return sum(lag_of({partition: self._position(partition) for partition in self._ends}, self._ends).values())

    def has_committed(self, end_offsets: Mapping[Partition, int]) -> bool:
        """Returns whether the group has committed these offsets, of the topics as they are now."""
        return all(self._now.get(partition, -1) >= end for partition, end in end_offsets.items())

    def end_offsets(self, topic: str) -> dict[Partition, int] | None:
        """Returns the end offset of each partition of a topic that was made again; ``None`` if Kafka does not say it now.

        From now on these partitions are looked at.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=ASK_S).topics[topic]
        except ck.KafkaException:
            return None
        partitions = [(topic, number) for number in sorted(found.partitions)]  # none with an error
        ends = {partition: high for partition in partitions if (high := self._high(partition)) is not None}
        if not partitions or len(ends) < len(partitions):
            return None
        self._partitions = [it for it in self._partitions if it[0] != topic] + partitions
        self._ends = {partition: end for partition, end in self._ends.items() if partition[0] != topic} | ends
        self._first |= {partition: 0 for partition in partitions if partition not in self._first}
        return ends

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _position(self, partition: Partition) -> int:
        return self._offsets.get(partition, self._first.get(partition, 0))

    def _high(self, partition: Partition) -> int | None:
        try:
            return int(self._consumer.get_watermark_offsets(ck.TopicPartition(*partition), timeout=ASK_S, cached=False)[1])
        except ck.KafkaException:
            return None

    def _low(self, partition: Partition) -> int:
        try:
            return int(self._consumer.get_watermark_offsets(ck.TopicPartition(*partition), timeout=ASK_S, cached=False)[0])
        except ck.KafkaException:
            return 0
