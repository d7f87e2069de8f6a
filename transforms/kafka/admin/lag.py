"""``GroupLag``: the lag of a consumer group, partition by partition, as Kafka has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import confluent_kafka as ck
from confluent_kafka import IsolationLevel
from confluent_kafka.admin import OffsetSpec

from transforms.kafka.admin_client import open_admin
from transforms.kafka.committed import CommittedOffsets
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.topic_limits import is_mock

ASK_S = 5.0
PARTITIONS_S = 60.0
"""How often the topics are asked for new partitions."""


def lag_of(positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> dict[Partition, int]:
    """Returns how many records each partition has after a position, for those whose end is known.

    Never less than 0: an end that was asked for before the position may lie before it.
    """
    return {partition: max(0, ends[partition] - position) for partition, position in positions.items() if partition in ends}


class GroupLag:
    """Asks Kafka for committed offsets and ends, without joining the group. Not for use by several threads at once.

    The end is the last stable offset, which a reader of committed records can reach. Markers of transactions, and records
    that were compacted away, count as records: nobody can tell them from outside. A partition without a committed offset is
    left out, also one whose topic was made again since; a job commits one at its start. Of the demo's embedded broker
    nothing is known: it keeps no offsets that were committed in a transaction.

    Args:
        config: The job's Kafka configuration.
        open_consumer: Makes the consumer.
        open_admin: Makes the admin client.
        clock: Returns seconds, monotonic.
    """

    def __init__(
        self,
        config: KafkaConfig,
        open_consumer: Callable[..., Any] = ck.Consumer,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._topics, self._clock = config.topics, clock
        self._consumer = open_consumer({**config.consumer_properties(), "log_level": 0})
        self._admin = open_admin(config)
        self._committed = CommittedOffsets(config, self._consumer, lambda _: self._admin)
        self._partitions: list[Partition] = []
        self._is_mock = False
        self._ask_partitions_at = float("-inf")

    def look(self, timeout_s: float = ASK_S) -> dict[Partition, int] | None:
        """Returns how many records each partition has after the committed offset; ``None`` if Kafka does not answer.

        Args:
            timeout_s: How long each of three requests may take.
        """
        try:
            self._find_partitions(timeout_s)
            if self._is_mock:
                return None
            found = self._committed.ask(self._partitions, timeout_s).offsets
            committed = {(tp.topic, tp.partition): tp.offset for tp in found if tp.error is None and tp.offset >= 0}
            ends = self._ends(committed, timeout_s)
        except (ck.KafkaException, TimeoutError):
            return None
        return lag_of(committed, ends)

    def close(self) -> None:
        """Closes the connections."""
        self._consumer.close()

    def _find_partitions(self, timeout_s: float) -> None:
        if self._clock() < self._ask_partitions_at:
            return
        self._is_mock = is_mock(self._admin)
        found: list[Partition] = []
        for topic in self._topics:
            metadata = self._consumer.list_topics(topic, timeout=timeout_s).topics.get(topic)
            found += [(topic, number) for number in sorted(metadata.partitions)] if metadata else []
        self._partitions = found
        self._ask_partitions_at = self._clock() + (PARTITIONS_S if found else 0)

    def _ends(self, partitions: Mapping[Partition, int], timeout_s: float) -> dict[Partition, int]:
        if not partitions:
            return {}
        asked = {ck.TopicPartition(*partition): OffsetSpec.latest() for partition in partitions}
        futures = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=timeout_s)
        return {(tp.topic, tp.partition): future.result(timeout_s).offset for tp, future in futures.items()}
