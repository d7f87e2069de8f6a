"""The example of a pipeline of one's own from Kafka to Kafka, run twice in one process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from examples import kafka_to_kafka
from tests import topics
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: 666.0 in row["x"]
        yield stub.uri()


def test_kafka_to_kafka(uri: str, kafka: str) -> None:
    """Every record answered once, in order, and the offsets are committed: a second run goes on where the first ended.

    Against the real Kafka: the embedded broker does not keep offsets that a transaction commits.
    """
    values = [b'{"x":[1]}', b'{"x":[666]}', b'{"x":[2],"draft":true}', None, b'{"x":[3]}']
    name = f"kafka-to-kafka-{time.time_ns()}"
    out, dead = f"{name}.out", f"{name}.out.dead-letter"
    for topic in (name, out, dead):
        topics.create_topic(kafka, topic)
    topics.produce(kafka, name, values)
    flags = [f"--bootstrap_servers={kafka}", f"--input_topic={name}", f"--output_topic={out}", f"--group_id={name}"]
    kafka_to_kafka.main([*flags, f"--model={uri}", f"--max_records={len(values)}"])
    topics.produce(kafka, name, [b'{"x":[4]}'])
    kafka_to_kafka.main([*flags, f"--model={uri}", "--max_records=1"])
    predictions, dead_letters = topics.read_all(kafka, out), topics.read_all(kafka, dead)
    assert [json.loads(record.value or b"") for record in predictions] == [{"y": [2.5]}, {"y": [3.5]}, {"y": [4.0]}]
    places = [f"{name}/0/{offset}".encode() for offset in (0, 4, 5)]
    assert [dict(record.headers)["inference.source"] for record in predictions] == places
    classes = [dict(record.headers)["inference.error.class"] for record in dead_letters]
    assert classes == [b"Rejected", b"Draft", b"Tombstone"]
    assert [record.value for record in dead_letters] == values[1:4]
