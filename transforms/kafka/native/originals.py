"""``Originals``: reads single input records again, for the dead letters of outputs that Kafka has refused.

An output does not hold its input's value. The records are not kept for that: a bundle may have a gigabyte of them, and Kafka
still has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.messages import record_of
from transforms.kafka.vendor import describe, is_transient
from transforms.retry import Deadline
from transforms.types import KafkaRecord

Source = tuple[str, int, int]
"""Topic, partition and offset of an input record."""

TIMEOUT_S = 60.0
AT_ONCE = 500
"""Records asked for at a time."""

WAIT_S = 0.1
"""How long one look for them may take, in seconds."""


class Originals:
    """A consumer for records by their offsets, outside of the group. It opens with the first call.

    Args:
        config: The job's.
        open_consumer: Makes the consumer.
        timeout_s: How long one call may take.
    """

    def __init__(self, config: KafkaConfig, open_consumer: Callable[..., Any] = ck.Consumer, timeout_s: float = TIMEOUT_S):
        self._config, self._open, self._timeout_s = config, open_consumer, timeout_s
        self._consumer: Any = None

    def read(self, sources: Collection[Source]) -> dict[Source, KafkaRecord]:
        """Reads records again.

        Returns:
            Source to its record. One that was deleted meanwhile (retention, compaction) is left out.

        Raises:
            KafkaError: Kafka does not answer in time, or refuses us.
        """
        wanted: dict[Partition, set[int]] = {}
        for topic, partition, offset in sources:
            wanted.setdefault((topic, partition), set()).add(offset)
        if not wanted:
            return {}
        if self._consumer is None:
            properties = {**self._config.consumer_properties(), "auto.offset.reset": "earliest"}
            self._consumer = self._open(properties)
        consumer, found = self._consumer, dict[Source, KafkaRecord]()
        last = {partition: max(offsets) for partition, offsets in wanted.items()}
        next_one = {partition: min(offsets) for partition, offsets in wanted.items()}
        starts = [ck.TopicPartition(*partition, offset) for partition, offset in next_one.items()]
        consumer.assign(starts)
        consumer.resume(starts)  # that they were paused outlasts the end of their assignment
        deadline = Deadline(self._timeout_s)
        while last:
            if deadline.passed:
                raise KafkaError(f"{min(last)[0]}: records were not answered in {self._timeout_s:.0f} s: is Kafka up?")
            # At most as many as may be left: asked for more, consume() would wait at the end of a topic.
            left = sum(offset + 1 - next_one[partition] for partition, offset in last.items())
            for message in consumer.consume(min(AT_ONCE, left), WAIT_S):
                error, at = message.error(), (message.topic(), message.partition())
                if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
                    if not is_transient(error):
                        raise KafkaError(f"{at[0] or 'reading'}: {describe(error)}")
                    continue
                if error is None and message.offset() in wanted[at]:
                    found[*at, message.offset()] = record_of(message)
                next_one[at] = message.offset() + 1
                if at in last and (error is not None or message.offset() >= last[at]):
                    del last[at]
                    consumer.pause([ck.TopicPartition(*at)])  # what is behind it would come before the others' records
        consumer.unassign()
        return found

    def close(self) -> None:
        """Closes the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
