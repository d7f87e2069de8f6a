"""``TopicReader``: reads a topic from its beginning to the end that it had at the start, outside of any group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.admin.checks import Position
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.messages import record_of
from transforms.kafka.vendor import describe, is_transient
from transforms.retry import Deadline
from transforms.types import KafkaRecord

SILENT_S = 60.0
"""How long Kafka may give nothing at all before the end is reached."""

POLL_S = 0.1
AT_ONCE = 500


class TopicReader:
    """Reads committed records to the end. Commits nothing, and joins no group.

    Args:
        config: The connection.
        positions: Each partition's earliest and end offset. What is written later is not read.
        open_consumer: Makes a consumer from librdkafka's properties.
        clock: Seconds, monotonic.

    Attributes:
        passed: How many offsets were passed so far, of ``offsets``.
        offsets: How many offsets there are.
        append_time: Whether the topic sets timestamps itself, as far as was read.
    """

    def __init__(
        self,
        config: KafkaConfig,
        positions: Mapping[Partition, Position],
        open_consumer: Callable[[dict[str, Any]], Any] = ck.Consumer,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._clock, self.append_time = clock, False
        self._left = {partition: at for partition, at in positions.items() if at.high > at.low}
        self._at = {partition: at.low for partition, at in self._left.items()}
        self._ends = dict(self._left)
        self._consumer = open_consumer({**config.consumer_properties(), "log_level": 0, "auto.offset.reset": "earliest"})
        if self._left:
            self._consumer.assign([ck.TopicPartition(*partition, at.low) for partition, at in self._left.items()])

    @property
    def offsets(self) -> int:
        """How many offsets there are between the beginning and the end."""
        return sum(at.high - at.low for at in self._ends.values())

    @property
    def passed(self) -> int:
        """How many of them were passed."""
        return sum(
            min(offset, self._ends[partition].high) - self._ends[partition].low for partition, offset in self._at.items()
        )

    def chunks(self) -> Iterator[list[KafkaRecord]]:
        """Yields the records, each partition in the order of its offsets; an empty list where none came for a moment.

        Raises:
            KafkaError: Kafka refuses us, or gives nothing for a minute.
        """
        silence = Deadline(SILENT_S, self._clock)
        while self._left:
            messages = self._consumer.consume(AT_ONCE, POLL_S)
            if messages:
                silence = Deadline(SILENT_S, self._clock)
            elif silence.passed:
                raise KafkaError(f"{min(self._left)[0]}: Kafka gave no records for {SILENT_S:.0f} s: is it up?")
            yield self._records(messages)
            silence = Deadline(SILENT_S, self._clock) if messages else silence  # whoever took the records took time

    def _records(self, messages: list[ck.Message]) -> list[KafkaRecord]:
        found = []
        for message in messages:
            error, partition = message.error(), (message.topic(), message.partition())
            if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
                if not is_transient(error):
                    raise KafkaError(f"{partition[0] or 'reading'}: {describe(error)}")
                continue
            if partition not in self._left:
                continue
            high, offset = self._left[partition].high, message.offset()
            if error is None and offset < high:
                found.append(record_of(message))
                self.append_time |= message.timestamp()[0] == ck.TIMESTAMP_LOG_APPEND_TIME
            self._at[partition] = high if error is not None else offset + 1
            if error is not None or offset + 1 >= high:
                del self._left[partition]
        return found

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()
