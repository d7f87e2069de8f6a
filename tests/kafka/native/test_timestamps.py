"""Timestamps that librdkafka or Kafka treat specially: 0, which librdkafka takes for now, none, and negative ones."""

from __future__ import annotations

from collections.abc import Iterator

import confluent_kafka as ck
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests import raw_produce, topics
from transforms.dead_letter import dead_letter
from transforms.dead_letter_classes import DeadLetterClass
from transforms.headers import TIMESTAMP
from transforms.kafka.admin.checks import Position
from transforms.kafka.admin.sample import read_sample
from transforms.kafka.config import AT_LEAST_ONCE, KafkaConfig
from transforms.kafka.native.static_reader import StaticReader
from transforms.kafka.native.writers import open_writer
from transforms.types import KafkaRecord

SENT = [7, 0, -1, -5, 1]
SEEN = [7, 0, None, -5, 1]


@pytest.fixture(scope="module")
def config() -> Iterator[KafkaConfig]:
    with EmbeddedBroker({"in": 1, "out": 1}) as broker:
        raw_produce.produce(broker.address, "in", [(b"v", timestamp_ms) for timestamp_ms in SENT])
        yield KafkaConfig(broker.address, ("in",), "group", delivery=AT_LEAST_ONCE, assignment="static")


def read(config: KafkaConfig) -> list[KafkaRecord]:
    reader, found = StaticReader(config), list[KafkaRecord]()
    while len(found) < len(SENT):
        found += reader.consume(len(SENT), 1.0)
    reader.close()
    return found


def test_they_are_read_as_they_are(config: KafkaConfig) -> None:
    assert [record.timestamp_ms for record in read(config)] == SEEN
    sample = read_sample(config, {("in", 0): Position(0, 0, len(SENT))}, len(SENT))
    assert [record.timestamp_ms for record in sample] == SEEN


def test_they_are_written_as_they_were_or_a_header_says_what_they_were(config: KafkaConfig) -> None:
    """0 is written as the next millisecond, not as the present; a header that a former pipeline wrote is replaced."""
    failure = DeadLetterClass.TOMBSTONE.failure("why")
    letters = [dead_letter(record, failure, "out") for record in read(config)]
    letters = [letter._replace(headers=[(TIMESTAMP, b"old"), ("kept", None)]) for letter in letters]
    writer, reader = open_writer(config), StaticReader(config)
    writer.write(letters)
    writer.commit([ck.TopicPartition("in", 0, 0)], reader, None)
    reader.close()
    writer.close()
    found = topics.read_all(config.bootstrap_servers, "out")
    assert [record.timestamp_ms for record in found] == [7, 1, -1, -5, 1]
    told = [dict(record.headers)[TIMESTAMP] for record in found]
    assert told == [b"old", b"0", b"old", b"old", b"old"]
    assert all([name for name, _ in record.headers].count(TIMESTAMP) == 1 for record in found)
    assert all(("kept", None) in record.headers for record in found)
