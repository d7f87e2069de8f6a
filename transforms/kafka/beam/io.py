"""``ReadFromKafka`` and ``WriteToKafka`` over Beam's own Java transforms, with our ``KafkaRecord`` and ``OutputRecord``.

For runners that distribute the work themselves and run Java workers (Dataflow, Prism). Reading and writing are separate
stages that commit separately, so the guarantee is at least once, without a Kafka transaction. An expansion service
(``expansion/``) expands the transforms when the pipeline is built.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io import kafka as java
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.coders import RecordChunk
from transforms.headers import with_timestamp
from transforms.kafka.beam.properties import java_consumer, java_producer
from transforms.kafka.beam.rows import JavaHeader, JavaRecord
from transforms.kafka.config import JavaKafka, KafkaConfig
from transforms.kafka.vendor import NO_TIMESTAMP
from transforms.types import KafkaRecord, OutputRecord

POLLING_S = 1
"""Whole seconds that one call of Java's source reads. Its records are emitted only afterwards, so we use the least."""

NO_TIMESTAMP_TYPE = -1


class ReadFromKafka(beam.PTransform):
    """Reads topics as ``KafkaRecord`` elements, with Beam's Java source.

    Args:
        config: The topics, the group and the connection.
        java_kafka: The expansion service.
    """

    def __init__(self, config: KafkaConfig, java_kafka: JavaKafka):
        super().__init__()
        self._config, self._java = config, java_kafka

    def expand(self, pbegin: Any) -> Any:
        """Builds the source."""
        return (
            pbegin
            | "Java"
            >> java.ReadFromKafka(
                consumer_config=java_consumer(self._config),
                topics=list(self._config.topics),
                with_metadata=True,
                consumer_polling_timeout=POLLING_S,
                commit_offset_in_finalize=self._java.commit_offsets,
                expansion_service=self._java.expansion_service,
            )
            | "Record" >> beam.Map(record_of).with_output_types(Any)
        )


def record_of(row: Any) -> KafkaRecord:
    """Converts a row of Java's source to a ``KafkaRecord``."""
    return KafkaRecord(
        row.topic,
        row.partition,
        row.offset,
        None if row.timestampTypeId == NO_TIMESTAMP_TYPE or row.timestamp == NO_TIMESTAMP else row.timestamp,
        row.key,
        row.value,
        [(header.key, header.value) for header in row.headers or ()],
    )


class ChunksByPartition(beam.DoFn):
    """Records in, ``(partition, RecordChunk)`` out: a bundle's records of each partition, in their order.

    The next stage keeps state by key, where a chunk costs the same as one record.

    Args:
        size: Most records of a chunk.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.time):
        self._size, self._ticks = size, Ticks(clock)

    def start_bundle(self) -> None:
        """Starts empty, also after a bundle that failed."""
        self._collected: dict[str, RecordChunk] = {}
        self._at = self._ticks.next()

    def process(self, record: KafkaRecord) -> Iterator[TimestampedValue]:
        """Adds a record; yields its chunk if it is full."""
        key = f"{record.topic}/{record.partition}"
        chunk = self._collected.setdefault(key, RecordChunk())
        chunk.append(record)
        if len(chunk) >= self._size:
            yield TimestampedValue((key, self._collected.pop(key)), self._at)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yields the chunks that are not full."""
        for keyed in self._collected.items():
            yield WindowedValue(keyed, self._at, (GlobalWindow(),))
        self._collected = {}


class SingleRecords(beam.DoFn):
    """``OutputChunk`` in, its ``OutputRecord`` elements out, for a sink of single records.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time):
        self._ticks = Ticks(clock)

    def start_bundle(self) -> None:
        """Starts a new sequence of timestamps."""
        self._at = self._ticks.next()

    def process(self, records: list[OutputRecord]) -> Iterator[TimestampedValue]:
        """Yields the records in their order."""
        for record in records:
            yield TimestampedValue(record, self._at)


class Ticks:
    """Ascending element timestamps, which keep the order of bundles on runners that sort a stage's input by timestamp.

    Prism sorts by timestamp, to the millisecond; elements with equal timestamps keep their order. We use the timestamp of an
    element for nothing else: a record's own timestamp is a field of the record.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._last_ms = clock, 0

    def next(self) -> Timestamp:
        """Returns the current time, but at least one millisecond more than the last call."""
        self._last_ms = max(round(self._clock() * 1000), self._last_ms + 1)
        return Timestamp(micros=self._last_ms * 1000)


class WriteToKafka(beam.PTransform):
    """Writes ``OutputRecord`` elements with Beam's Java sink: predictions and dead letters, each to its own topic.

    Args:
        config: The connection to Kafka.
        java_kafka: The expansion service, and the outputs' numbers of partitions.
    """

    def __init__(self, config: KafkaConfig, java_kafka: JavaKafka):
        super().__init__()
        self._config, self._java = config, java_kafka

    def expand(self, records: Any) -> Any:
        """Builds the sink."""
        rows = records | "Row" >> beam.Map(row_of, dict(self._java.partitions)).with_output_types(JavaRecord)
        return rows | "Java" >> java.WriteToKafka(
            producer_config=java_producer(self._config),
            topic="",  # every record names its own
            with_headers=True,
            expansion_service=self._java.expansion_service,
        )


def row_of(record: OutputRecord, partitions: Mapping[str, int]) -> JavaRecord:
    """Converts an output record to the row that Java's sink takes.

    A record with a null key goes to the partition with the number of its source partition (modulo the count), as in the
    native sink. A header's null value becomes an empty one: Java's sink, and with it the job, would fail on null
    (``ProducerRecordCoder`` of Beam 2.73 encodes headers with a coder that takes no null). Java writes no negative
    timestamp either, and none at all is the current time: a header says what the timestamp was.
    """
    timestamp_ms, headers = record.timestamp_ms, record.headers
    if timestamp_ms is None or timestamp_ms < 0:
        headers = with_timestamp(headers, NO_TIMESTAMP if timestamp_ms is None else timestamp_ms)
        timestamp_ms = None
    count = partitions.get(record.topic)
    partition = None if record.key is not None or not count else np.int32(record.source[1] % count)
    java_headers = [JavaHeader(name, value or b"") for name, value in headers]
    return JavaRecord(record.key, record.value, java_headers, record.topic, partition, timestamp_ms)
