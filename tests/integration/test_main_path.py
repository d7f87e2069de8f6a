"""Kafka → model server → Kafka: what is carried, what is added, over both protocols, with every kind of record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.digits import load_digits
from tests import raw_produce, topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from tests.pipeline.embedded.servers import Served, needs_testdata
from transforms.clients.wire.tensorflow.example import build_example
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import Headers, KafkaRecord, TensorSpec

ADDED = ["inference.model", "inference.version", "inference.source", "inference.latency_ms", "inference.attempts"]
ADDED_TO_DEAD = [f"inference.error.{name}" for name in ("stage", "class", "message", "attempts")] + ["inference.source"]
CARRIED: Headers = [
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("twice", b"1"),
    ("twice", b"\xff"),
    ("null", None),
]
T = 1_700_000_000_000
SECRET = "4111111111111111"


@pytest.mark.usefixtures("real_starts")
@pytest.mark.parametrize("protocol", [TfServingGrpcStub, TfServingRestStub])
def test_records(new_job: NewJob, protocol: type[StubServer]) -> None:
    """Keys (null, empty), headers and timestamps are carried; headers are added; what can't be scored is a dead letter."""
    sent = [
        (b"key", b'{"x": [1.0]}', CARRIED),
        (None, b'{"x": [2, 3]}', []),  # another row shape than its neighbours'
        (b"", b"[4]", []),  # a model of one input takes bare values
        (b"dead", None, CARRIED),
        (None, b'{"x": ["%b"]}' % SECRET.encode(), CARRIED),
        (None, b'{"x": [%b' % SECRET.encode(), []),
        (b"empty", b"", []),
        (b"many", b'{"x": [1], "y": 2}', []),  # fields that the model does not ask for are none of its business
    ]
    with protocol() as stub:
        stub.model.flip(7)
        job = new_job(stub.uri(), partitions=2, outputs=3, topics_in=2)
        for topic in job.inputs:
            values = [value for _, value, _ in sent]
            keys, headers = [key for key, _, _ in sent], [headers for _, _, headers in sent]
            times = [T + i for i in range(len(sent))]
            topics.produce(
                job.bootstrap, topic, values, keys=keys, headers=headers, timestamps_ms=times, partitions=[1] * len(sent)
            )
        summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    predictions, dead = job.predictions(), job.dead_letters()
    classes = {3: "Tombstone", 4: "FieldError", 5: "JsonError", 6: "EmptyValue"}
    assert summary["dead_letters_by_class"] == dict.fromkeys(classes.values(), 2), "one a topic"
    for topic in job.inputs:
        found = _by_offset(topic, predictions)
        expected = [(0, [2.5]), (1, [3.0, 3.5]), (2, [4.0]), (7, [2.5])]
        for offset, y in expected:
            record = found.pop(offset)
            assert (record.key, record.timestamp_ms) == (sent[offset][0], T + offset)
            assert json.loads(record.value or b"") == {"y": y}
            carried = len(sent[offset][2])
            assert record.headers[:carried] == sent[offset][2]
            assert [name for name, _ in record.headers[carried:]] == ADDED
            added = dict(record.headers[carried:])
            assert (added["inference.model"], added["inference.attempts"]) == (b"model", b"1")
            # REST answers do not name the version; its metadata did, at the start.
            assert added["inference.version"] == b"7"
            assert float(added["inference.latency_ms"] or b"") >= 0
        letters = _by_offset(topic, dead)
        for offset in classes:
            record = letters.pop(offset)
            key, value, own = sent[offset]
            assert (record.key, record.value, record.timestamp_ms) == (key, value, T + offset), "the original, untouched"
            assert record.headers[: len(own)] == own
            assert [name for name, _ in record.headers[len(own) :]] == ADDED_TO_DEAD
            why = dict(record.headers[len(own) :])
            assert why["inference.error.stage"] == b"decode"
            assert why["inference.error.class"] == classes[offset].encode()
            assert SECRET.encode() not in (why["inference.error.message"] or b""), "no payload in messages"
        assert not found
        assert not letters
    nulls = [record for record in predictions + dead if record.key is None]
    assert {record.partition for record in nulls} == {1}, "a null key stays in its input's partition, where there is one"


def test_only_the_outputs_that_are_wanted_are_written(new_job: NewJob) -> None:
    """And asked for, where the protocol can; an output that the model does not have is named before anything is consumed."""
    spec = TensorSpec("float32", (-1,))
    outputs = dict.fromkeys(("a", "b", "c"), spec)
    model = StubModel.of({"x": spec}, outputs, lambda inputs: dict.fromkeys(outputs, inputs["x"]))
    with TfServingGrpcStub(model) as stub, TfServingRestStub(model) as rest:
        job = new_job(stub.uri())
        topics.produce(job.bootstrap, job.inputs[0], [b'{"x": 1}'])
        refused = job.start("--outputs=a,z")
        assert refused.wait() == 2, refused
        assert "--outputs=z: the model has no such output; it has a, b, c" in refused.stderr
        assert job.committed() == {}
        job.run("--until_end", "--outputs=a,c")
        assert sorted(stub.outputs_asked) == ["a", "c"]
        topics.produce(job.bootstrap, job.inputs[0], [b'{"x": 2}'])
        job.run("--until_end", "--outputs=b", f"--model={rest.uri()}")
    assert [json.loads(record.value or b"") for record in job.predictions()] == [{"a": 1, "c": 1}, {"b": 2}]


def test_timestamps_that_clients_treat_specially(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """0 is not now: neither in a prediction nor in a dead letter; no timestamp and negative ones stay what they are."""
    job = new_job(stub.uri())
    for name in (*job.inputs, job.output, f"{job.output}.dead-letter"):
        topics.set_config(job.bootstrap, name, {"retention.ms": "-1"})  # 1970 is past every other
    sent = [0, -1, -5, 7]
    raw_produce.produce(job.bootstrap, job.inputs[0], [(b'{"x": [1]}', at) for at in sent] + [(b"{", at) for at in sent])
    job.run("--until_end")
    for records in (job.predictions(), job.dead_letters()):
        assert [record.timestamp_ms for record in records] == [1, -1, -5, 7]
        assert [dict(record.headers).get("inference.timestamp_ms") for record in records] == [b"0", None, None, None]


def _by_offset(topic: str, records: list[KafkaRecord]) -> dict[int, KafkaRecord]:
    found = {}
    for record in records:
        source = topics.source_of(record)
        if source and source[0] == topic:
            found[source[2]] = record
    return found


def test_null_keys_keep_the_order(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Answers that come back in any order leave in the order of the input partition, over many bundles, poison or not."""
    stub.faults.poison = lambda row: float(row["x"][0]) % 501 == 500
    job = new_job(stub.uri(), partitions=5, outputs=3, flags=("--batch_max_size=16",))
    job.produce(range(10_000))
    stub.faults.fail_next(40, "UNAVAILABLE")
    summary = job.run("--until_end").summary
    report = job.report()
    assert report.ok, report
    guilty = len(range(500, 10_000, 501))
    assert summary["dead_letters_by_class"] == {"Rejected": guilty}
    assert summary["retries"] > 0
    assert (summary["records"], summary["predictions"]) == (10_000, 10_000 - guilty)


def test_digits(new_job: NewJob, served: Served, tmp_path: Path) -> None:
    """PNG images, through the embedded model server over both protocols; with labels, the best three."""
    digits = load_digits()[:400]
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {n}" for n in range(10)))
    plain = new_job(f"grpc://127.0.0.1:{served.grpc_port}/digits")
    labelled = new_job(
        f"http://127.0.0.1:{served.rest_port}/v1/models/digits", flags=(f"--labels={tmp_path}/labels.txt", "--top_k=3")
    )
    broken = [digits[0].png[:40], b"", None]
    for job in (plain, labelled):
        values = [digit.png for digit in digits] + broken
        keys = [digit.name.encode() for digit in digits] + [b"broken"] * 3
        topics.produce(job.bootstrap, job.inputs[0], values, keys=keys)
    for process in [job.start("--until_end") for job in (plain, labelled)]:
        process.done()
    truth = {digit.name.encode(): digit.label for digit in digits}
    for job in (plain, labelled):
        assert job.report().ok, job.report()
        assert [record.key for record in job.dead_letters()] == [b"broken"] * 3
    values_by_key = {record.key: json.loads(record.value or b"") for record in plain.predictions()}
    right = sum(value["label"] == truth[key] for key, value in values_by_key.items() if key)
    assert right >= 0.97 * len(digits)
    for record in labelled.predictions():
        value = json.loads(record.value or b"")
        scores = [entry["score"] for entry in value["top"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert value["label"] == value["top"][0]["label"] == f"digit {values_by_key[record.key]['label']}"
        assert value["score"] == pytest.approx(values_by_key[record.key]["scores"][values_by_key[record.key]["label"]], 1e-3)


@needs_testdata
def test_examples_and_merge(new_job: NewJob, served: Served) -> None:
    """TensorFlow Serving's own half_plus_two: Classify and Regress take tf.Example, Predict takes JSON and merges."""
    base = f"grpc://127.0.0.1:{served.grpc_port}/half_plus_two"
    regress = new_job(f"{base}?signature=regress_x_to_y")
    classify = new_job(f"{base}@123?signature=classify_x_to_y")
    merge = new_job(
        f"http://127.0.0.1:{served.rest_port}/v1/models/half_plus_two/versions/123", flags=("--output_mode=merge",)
    )
    for job in (regress, classify):
        values = [build_example({"x": float(n)}) for n in range(100)] + [b"no example"]
        topics.produce(job.bootstrap, job.inputs[0], values)
    originals = [b'{"x": [%d],  "id": 12345678901234567890}' % n for n in range(100)]
    topics.produce(merge.bootstrap, merge.inputs[0], [b'{"x": [1], "prediction": 1}', *originals])
    for process in [job.start("--until_end") for job in (regress, classify, merge)]:
        process.done()
    for job in (regress, classify, merge):
        assert job.report().ok, job.report()
        assert len(job.dead_letters()) == 1
        assert dict(job.predictions()[0].headers)["inference.version"] == b"123"
    assert sorted(_outputs(regress, "value")) == [0.5 * n + 2 for n in range(100)]
    assert sorted(_outputs(classify, "scores")) == [[0.5 * n + 2] for n in range(100)]
    merged = {record.value for record in merge.predictions()}
    assert merged == {original[:-1] + b',"prediction":{"y":[%.1f]}}' % (0.5 * n + 2) for n, original in enumerate(originals)}
    assert dict(merge.dead_letters()[0].headers)["inference.error.class"] == b"FieldCollision"


def _outputs(job: Job, name: str) -> list[Any]:
    return [json.loads(record.value or b"")[name] for record in job.predictions()]
