"""The example scripts do what they say, against a stub of TensorFlow Serving and the embedded broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import kafka_to_kafka, predict_transform, run_inference
from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from transforms.kafka.native.sessions import close_sessions
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: 666.0 in row["x"]
        yield stub.uri()


def test_run_inference(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    run_inference.main([f"--model={uri}"])
    assert sorted(capfd.readouterr().out.splitlines()) == [
        "monday: y = [2.5] by model@1",
        "thursday: y = [4.] by model@1",
        "tuesday: y = [3.] by model@1",
        "wednesday: FieldError in decode: x: expected float32[?], came str512",
    ]


def test_predict_transform(uri: str, tmp_path: Path) -> None:
    lines = [
        {"time": 3600, "x": [1.0]},
        {"time": 3700, "x": [3.0]},
        {"time": 3800, "x": [666.0]},
        {"time": 7300, "x": [10.0]},
        {"time": 7300, "y": [10.0]},
    ]
    source = tmp_path / "readings.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)))
    predict_transform.main([f"--model={uri}", f"--input={source}", f"--output={tmp_path}/out"])
    hours = [json.loads(line) for line in (tmp_path / "out.hours.jsonl").read_text().splitlines()]
    assert sorted(hours, key=lambda hour: hour["hour"]) == [{"hour": 3600, "mean": 3.0}, {"hour": 7200, "mean": 7.0}]
    failed = [json.loads(line) for line in (tmp_path / "out.failed.jsonl").read_text().splitlines()]
    assert sorted((line["class"], line["element"]["time"]) for line in failed) == [("FieldError", 7300), ("Rejected", 3800)]


def test_kafka_to_kafka(uri: str) -> None:
    """Every record answered once, in order, and the offsets are committed: a second run goes on where the first ended."""
    values = [b'{"x":[1]}', b'{"x":[666]}', b'{"x":[2],"draft":true}', None, b'{"x":[3]}']
    with EmbeddedBroker({"in": 1, "out": 1, "out.dead-letter": 1}) as broker:
        topics.produce(broker.address, "in", values)
        flags = [f"--bootstrap_servers={broker.address}", "--input_topic=in", "--output_topic=out", f"--model={uri}"]
        kafka_to_kafka.main([*flags, f"--max_records={len(values)}"])
        topics.produce(broker.address, "in", [b'{"x":[4]}'])
        kafka_to_kafka.main([*flags, "--max_records=1"])
        close_sessions()
        predictions = topics.read_all(broker.address, "out")
        dead_letters = topics.read_all(broker.address, "out.dead-letter")
    assert [json.loads(record.value or b"") for record in predictions] == [{"y": [2.5]}, {"y": [3.5]}, {"y": [4.0]}]
    assert [dict(record.headers)["inference.source"] for record in predictions] == [b"in/0/0", b"in/0/4", b"in/0/5"]
    classes = [dict(record.headers)["inference.error.class"] for record in dead_letters]
    assert classes == [b"Rejected", b"Draft", b"Tombstone"]
    assert [record.value for record in dead_letters] == values[1:4]
