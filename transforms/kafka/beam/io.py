"""``ReadFromKafka`` and ``WriteToKafka`` on Beam's own Java transforms, with this project's records on both sides.

For runners that place the work themselves and run Java workers (Dataflow; Prism; anywhere on request). Reading and writing
are stages of their own here, which commit by themselves: at least once, and no Kafka transaction around them. An expansion
service (``expansion/``) turns them into Java when the pipeline is built.
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
from transforms.kafka.beam.properties import java_consumer, java_producer
from transforms.kafka.beam.rows import JavaHeader, JavaRecord
from transforms.kafka.config import JavaKafka, KafkaConfig
from transforms.types import KafkaRecord, OutputRecord

POLLING_S = 1
"""For how long one call of Java's source reads, in whole seconds. What it has read goes on only then, so the least."""

NO_TIMESTAMP_TYPE = -1


class ReadFromKafka(beam.PTransform):
    """Reads topics as ``KafkaRecord`` elements, with Beam's Java source.

    Args:
        config: Which topics, as which group.
        java_kafka: How Java is reached.
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
    """Returns the record of a row that Java's source gives."""
    return KafkaRecord(
        row.topic,
        row.partition,
        row.offset,
        None if row.timestampTypeId == NO_TIMESTAMP_TYPE else row.timestamp,
        row.key,
        row.value,
        [(header.key, header.value) for header in row.headers or ()],
    )


class ChunksByPartition(beam.DoFn):
    """Records in, ``(partition, RecordChunk)`` out: what a bundle has of each partition, in its order.

    The stage behind keeps state by key, and a chunk costs it what a record would.

    Args:
        size: Records of a chunk at most.
        clock: Seconds since the epoch.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.time):
        self._size, self._ticks = size, Ticks(clock)

    def start_bundle(self) -> None:
        """Starts with nothing collected, whatever became of the bundle before."""
        self._collected: dict[str, RecordChunk] = {}
        self._at = self._ticks.next()

    def process(self, record: KafkaRecord) -> Iterator[TimestampedValue]:
        """Takes a record; yields a chunk that is full."""
        key = f"{record.topic}/{record.partition}"
        chunk = self._collected.setdefault(key, RecordChunk())
        chunk.append(record)
        if len(chunk) >= self._size:
            yield TimestampedValue((key, self._collected.pop(key)), self._at)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yields the rest."""
        for keyed in self._collected.items():
            yield WindowedValue(keyed, self._at, (GlobalWindow(),))
        self._collected = {}


class SingleRecords(beam.DoFn):
    """``OutputChunk`` in, its records out, for a sink that takes them one by one.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time):
        self._ticks = Ticks(clock)

    def start_bundle(self) -> None:
        """Takes the time for all records of the bundle."""
        self._at = self._ticks.next()

    def process(self, records: list[OutputRecord]) -> Iterator[TimestampedValue]:
        """Yields the records in their order."""
        for record in records:
            yield TimestampedValue(record, self._at)


class Ticks:
    """Timestamps of elements that keep the order of bundles where a stage's input is sorted by them.

    Prism does that, to the millisecond, and keeps the order of a bundle where they are equal. A record's own time is in the
    record, and nothing here depends on an element's.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._last_ms = clock, 0

    def next(self) -> Timestamp:
        """Returns now, or a millisecond more than the last time."""
        self._last_ms = max(round(self._clock() * 1000), self._last_ms + 1)
        return Timestamp(micros=self._last_ms * 1000)


class WriteToKafka(beam.PTransform):
    """Writes ``OutputRecord`` elements with Beam's Java sink: predictions and dead letters, each to its own topic.

    Args:
        config: How to reach Kafka.
        java_kafka: How Java is reached.
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
    """Returns the row that Java's sink takes.

    A null key goes to the partition of the same number as its source's (modulo the count), as the native sink does it. A
    header's null value becomes an empty one: Java's sink fails on it, and with it the job (``ProducerRecordCoder`` of Beam
    2.73 encodes headers by a coder that knows no null).
    """
    count = partitions.get(record.topic)
    partition = None if record.key is not None or not count else np.int32(record.source[1] % count)
    headers = [JavaHeader(name, value or b"") for name, value in record.headers]
    return JavaRecord(record.key, record.value, headers, record.topic, partition, record.timestamp_ms)
