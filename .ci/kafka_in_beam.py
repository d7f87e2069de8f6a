"""Kafka in Beam, from an installed package alone: what docs/how-to/kafka-in-beam.md promises of the extra ``kafka``."""

import sys

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from confluent_kafka import Producer

from pipeline.embedded.broker import EmbeddedBroker
from transforms import KafkaConfig, OutputRecord, ReadFromKafka, WriteToKafka
from transforms.kafka.native.sessions import close_sessions

RECORDS = 100
seen = []


def doubled(record):
    """Makes an output of a record."""
    return OutputRecord.answering(record, "out", record.value * 2)


def note(record):
    """Puts what is read into this process's list: FnApiRunner's worker is a thread of it."""
    sys.modules["__main__"].seen.append((record.topic, record.value))


with EmbeddedBroker({"in": 2, "out": 1}) as broker:
    producer = Producer({"bootstrap.servers": broker.address})
    for number in range(RECORDS):
        producer.produce("in", b"%d" % number)
    assert producer.flush(60) == 0
    del producer  # before its broker
    kafka = KafkaConfig(broker.address, ("in",), "map-and-write")
    with beam.Pipeline(FnApiRunner()) as pipeline:
        pipeline | ReadFromKafka(config=kafka, max_num_records=RECORDS) | beam.Map(doubled) | WriteToKafka(kafka)
    consumer = {"bootstrap.servers": broker.address, "group.id": "read-only"}
    with beam.Pipeline(FnApiRunner()) as pipeline:
        pipeline | ReadFromKafka(consumer, ["out"], max_num_records=RECORDS) | beam.Map(note)
    close_sessions()

found = sorted(value for _, value in seen)
assert found == sorted(b"%d" % number * 2 for number in range(RECORDS)), found
foreign = {"aiohttp", "tensorflow", "google.cloud.aiplatform", "rich"} & set(sys.modules)
assert not foreign, f"Kafka alone has imported {foreign}"
print(f"Kafka in Beam works: {RECORDS} records read, written and read back")
