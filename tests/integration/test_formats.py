"""``python -m pipeline`` over the embedded broker: Avro by a schema registry, bare Avro, framed JSON and .npy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka
import fastavro
import numpy as np
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.digits import load_digits
from tests import topics
from tests.formats.test_protobuf import FILE, UNIT, Row, text_of
from tests.integration.process import Job, wait_until
from tests.pipeline.embedded.servers import Served
from transforms.testing.schema_registry_stub import Reference, SchemaRegistryStub
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

IMAGE_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Scan",
        "fields": [
            {"name": "picture", "type": {"type": "record", "name": "Picture", "fields": [{"name": "png", "type": "bytes"}]}},
            {"name": "id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "note", "type": ["null", "string"]},
        ],
    }
)
ROW_SCHEMA = '{"type":"record","name":"Row","fields":[{"name":"x","type":{"type":"array","items":"float"}}]}'


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"in": 2, "out": 2, "out.dead-letter": 2}) as broker:
        yield broker


@pytest.fixture
def registry() -> Iterator[SchemaRegistryStub]:
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    with SchemaRegistryStub() as stub:
        yield stub


@pytest.fixture
def job(broker: EmbeddedBroker) -> Iterator[Job]:
    job = Job(broker.address, ("in",), "out", "group")
    yield job
    for process in job.started:
        print(process)  # shown by pytest if the test fails
        process.close()


def read(bootstrap: str, topic: str, count: int) -> list[confluent_kafka.Message]:
    """Reads what a read_committed consumer sees, in the order of the sources; no more than ``count`` may be there."""
    properties = {"bootstrap.servers": bootstrap, "auto.offset.reset": "earliest", "log_level": 0}
    consumer = confluent_kafka.Consumer({**properties, "group.id": f"reader of {topic}"})
    consumer.subscribe([topic])
    found: list[confluent_kafka.Message] = []
    while len(found) < count:
        messages = consumer.consume(count, timeout=20)
        assert messages, f"{len(found)} of {count} records"
        found += messages
    assert not consumer.consume(1, timeout=0.2)
    consumer.close()
    return found


def by_key(messages: Sequence[confluent_kafka.Message], read: Callable[[bytes], Any] = json.loads) -> dict[str, Any]:
    return {message.key().decode(): read(message.value()) for message in messages}


def avro_of(registry: SchemaRegistryStub, topic: str) -> Callable[[bytes], Any]:
    """confluent-kafka's deserializer, as a consumer would use it."""
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    deserializer: Any = AvroDeserializer(SchemaRegistryClient({"url": registry.url}))
    return lambda value: deserializer(value, SerializationContext(topic, MessageField.VALUE))


def framed(number: int, schema: str, datum: Any) -> bytes:
    out = io.BytesIO(b"\0" + number.to_bytes(4, "big"))
    out.seek(5)
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema)), datum)
    return out.getvalue()


def class_of(message: confluent_kafka.Message) -> str:
    return str(dict(message.headers())["inference.error.class"].decode())


def test_avro_images_by_a_registry(job: Job, registry: SchemaRegistryStub, served: Served) -> None:
    """Nested bytes into a model of one string input, no base64 anywhere; fields passed through; broken ones set aside."""
    digits = load_digits()[:60]
    number = registry.add(IMAGE_SCHEMA)
    values = [
        framed(number, IMAGE_SCHEMA, {"picture": {"png": d.png}, "id": d.name, "at": 1_700_000_000_000 + i, "note": None})
        for i, d in enumerate(digits)
    ]
    broken = {"unknown": b"\0\0\0\x27\x0f" + values[0][5:], "frame": values[0][:4], "avro": values[0][:-3]}
    keys = [digit.name.encode() for digit in digits] + [key.encode() for key in broken]
    topics.produce(job.bootstrap, "in", [*values, *broken.values()], keys=keys)
    process = job.run(
        f"--model=grpc://127.0.0.1:{served.grpc_port}/digits", "--input_format=avro", f"--schema_registry={registry.url}",
        "--features=image_bytes=$.picture.png", "--pass_through=id,taken_at=$.at,note", f"--max_records={len(keys)}",
    )  # fmt: skip
    assert process.summary["dead_letters_by_class"] == {"UnknownSchema": 1, "FrameError": 1, "AvroError": 1}
    found = by_key(read(job.bootstrap, "out", len(digits)))
    assert [(found[d.name]["id"], found[d.name]["note"]) for d in digits] == [(d.name, None) for d in digits]
    assert [found[d.name]["taken_at"] for d in digits] == [1_700_000_000_000 + i for i in range(len(digits))]
    assert sum(found[d.name]["label"] == d.label for d in digits) >= 0.95 * len(digits)
    dead = read(job.bootstrap, "out.dead-letter", len(broken))
    assert {message.key().decode(): message.value() for message in dead} == broken, "the original, untouched"
    assert {message.key().decode(): class_of(message) for message in dead} == {
        "unknown": "UnknownSchema",
        "frame": "FrameError",
        "avro": "AvroError",
    }


def test_protobuf_by_a_registry(job: Job, registry: SchemaRegistryStub) -> None:
    """A message with an import, its number passed through exactly; one that is cut short is set aside. Predictions are Avro,
    read by confluent-kafka's deserializer."""
    registry.add(text_of(UNIT), "PROTOBUF", subject="unit.proto")
    references = [Reference("unit.proto", "unit.proto", 1)]
    number = registry.add(text_of(FILE), "PROTOBUF", references=references)
    frame = b"\0" + number.to_bytes(4, "big") + b"\x02\x02"
    values = [frame + Row(x=[n, n + 1], big_id=2**63 + n, unit=n % 2).SerializeToString() for n in range(100)]
    topics.produce(job.bootstrap, "in", [*values, values[0][:-1]], keys=[b"%d" % n for n in range(101)])
    with TfServingGrpcStub() as stub:
        process = job.run(
            f"--model={stub.uri()}", "--input_format=protobuf", f"--schema_registry={registry.url}",
            "--features=x=$.x", "--pass_through=big_id,unit", "--max_records=101", "--output_format=avro",
            "--output_types=big_id=ulong",
        )  # fmt: skip
    assert process.summary["dead_letters_by_class"] == {"ProtobufError": 1}
    assert by_key(read(job.bootstrap, "out", 100), avro_of(registry, "out")) == {
        str(n): {"y": [0.5 * n + 2, 0.5 * n + 2.5], "big_id": 2**63 + n, "unit": ("METRE", "FOOT")[n % 2]}
        for n in range(100)
    }
    [dead] = read(job.bootstrap, "out.dead-letter", 1)
    assert dead.value() == values[0][:-1], "untouched"


def test_a_registry_that_goes_down_holds_the_job(job: Job, registry: SchemaRegistryStub) -> None:
    """Longer than max.poll.interval.ms and than the transaction's time-out; nothing is lost, doubled or set aside."""
    first, second = registry.add(ROW_SCHEMA), registry.add(ROW_SCHEMA.replace("float", "double"))
    assert first != second
    with TfServingGrpcStub() as stub:
        rows = [framed(first, ROW_SCHEMA, {"x": [n]}) for n in range(300)]
        topics.produce(job.bootstrap, "in", rows, keys=[b"%d" % n for n in range(300)])
        process = job.start(
            f"--model={stub.uri()}", "--input_format=avro", f"--schema_registry={registry.url}", "--max_records=600",
            "--retry_deadline_s=1", "--kafka_config=max.poll.interval.ms=6000", "--kafka_config=session.timeout.ms=6000",
            "--kafka_config=transaction.timeout.ms=4000", "--status=plain",
        )  # fmt: skip
        process.wait_for_output("300 records")
        registry.down()
        later = [framed(second, ROW_SCHEMA.replace("float", "double"), {"x": [n]}) for n in range(300, 600)]
        # Both schemas in a chunk: what is known must not leave alone, nor be lost.
        topics.produce(job.bootstrap, "in", later, keys=[b"%d" % n for n in range(300, 600)])
        process.wait_for_output("WAITING for the schema registry at")
        before = stub.faults.requests
        with pytest.raises(AssertionError):
            wait_until(lambda: not process.running, "end", 8)
        assert stub.faults.requests == before
        registry.up()
        process.done()
    assert process.summary["predictions"] == 600
    assert process.summary["dead_letters"] == 0
    found = by_key(read(job.bootstrap, "out", 600))
    assert found == {str(n): {"y": [0.5 * n + 2]} for n in range(600)}


def test_a_registry_that_is_not_there_is_told_before_anything_is_read(job: Job, registry: SchemaRegistryStub) -> None:
    registry.down()
    with TfServingGrpcStub() as stub:
        flags = ("--input_format=avro", f"--schema_registry={registry.url}", "--wait_for_start_s=0")
        process = job.start(f"--model={stub.uri()}", *flags)
        assert process.wait() == 2
    assert f"error: --schema_registry: the schema registry at {registry.url} does not answer" in process.stderr


def test_a_drain_while_the_registry_is_down(job: Job, registry: SchemaRegistryStub) -> None:
    """Ends with 0 after the deadline; what was held is read again by the next process."""
    number = registry.add(ROW_SCHEMA)
    with TfServingGrpcStub() as stub:
        flags = (
            f"--model={stub.uri()}", "--input_format=avro", f"--schema_registry={registry.url}", "--retry_deadline_s=2",
            "--status=plain",
        )  # fmt: skip
        process = job.start(*flags)
        process.wait_for_output("scoring in")
        registry.down()
        topics.produce(job.bootstrap, "in", [framed(number, ROW_SCHEMA, {"x": [n]}) for n in range(10)])
        process.wait_for_output("WAITING for the schema registry")
        process.terminate()
        assert process.wait() == 0
        registry.up()
        again = job.run(*flags, "--max_records=10")
    assert again.summary["predictions"] == 10
    assert len(read(job.bootstrap, "out", 10)) == 10


@pytest.mark.parametrize("kind", ["bare", "container", "framed_json", "npy"])
def test_without_asking_a_registry(job: Job, kind: str, tmp_path: Path) -> None:
    schema = tmp_path / "row.avsc"
    schema.write_text(ROW_SCHEMA)
    parsed = fastavro.parse_schema(json.loads(ROW_SCHEMA))

    def value(n: int) -> bytes:
        out = io.BytesIO()
        if kind == "bare":
            fastavro.schemaless_writer(out, parsed, {"x": [n]})
        elif kind == "container":
            fastavro.writer(out, parsed, [{"x": [n]}], "deflate")
        elif kind == "npy":
            np.save(out, np.array([n], np.int16))
        else:
            return b'\0\0\0\0\x01{"x": [%d]}' % n
        return out.getvalue()

    flags = {
        "bare": ["--input_format=avro", f"--avro_schema={schema}"],
        "container": ["--input_format=avro"],
        "framed_json": ["--input_format=json", "--schema_registry=http://127.0.0.1:9"],
        "npy": ["--input_format=npy"],
    }
    topics.produce(job.bootstrap, "in", [*map(value, range(200)), b"\xff"], keys=[b"%d" % n for n in range(201)])
    with TfServingGrpcStub() as stub:
        process = job.run(f"--model={stub.uri()}", *flags[kind], "--max_records=201")
    assert process.summary["dead_letters"] == 1
    assert by_key(read(job.bootstrap, "out", 200)) == {str(n): {"y": [0.5 * n + 2]} for n in range(200)}
