"""The example scripts do what they say, against a stub of TensorFlow Serving. Kafka: integration/test_kafka_to_kafka.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import predict_transform, run_inference
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
