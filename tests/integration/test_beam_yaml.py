"""Kafka → model → Kafka by Beam YAML: ``examples/score.yaml``, run by Beam's own command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, Job, wait_until
from tests.servers.environment import added_packages
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

PINS = Path(__file__).with_name("beam_yaml.txt")
"""What the extra ``beam-yaml`` has besides ``requirements.txt``."""

ROOT = Path(__file__).parents[2]
COUNT, POISON, NO_JSON, TOMBSTONE, LEFT_OUT = 3_000, {7, 1_500, 2_999}, 11, 12, {20, 2_500}


def value_of(index: int) -> bytes | None:
    if index == TOMBSTONE:
        return None
    return b"{" if index == NO_JSON else json.dumps({"x": [-1 if index in POISON else index]}).encode()


class Yaml:
    """A run of the example."""

    def __init__(self, job: Job, model: str, log: Path, **more: str):
        added = added_packages("beam-yaml", PINS.read_text().split())
        path = os.pathsep.join(filter(None, [str(added), os.environ.get("PYTHONPATH")]))
        variables = {
            "bootstrap_servers": job.bootstrap,
            "model": model,
            "input_topic": job.inputs[0],
            "output_topic": job.output,
            "group_id": job.group,
            **more,
        }
        command = [sys.executable, "-m", "apache_beam.yaml.main", "--yaml_pipeline_file=examples/score.yaml"]
        command += [f"--jinja_variable_flags={','.join(variables)}"]
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in variables.items())],
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=os.environ | {"PATH": "/nowhere", "PYTHONPATH": path},  # no Java is to be found there
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self, sent: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(sent)
        self.process.wait(START_S)

    def __str__(self) -> str:
        return self._log.read_text(errors="replace")[-20_000:]


@pytest.fixture
def model() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: -1 in row["x"]
        yield stub


def test_killed_and_started_again(new_job: NewJob, model: TfServingGrpcStub, tmp_path: Path) -> None:
    job = new_job(model.uri(), partitions=2)
    topics.produce(
        job.bootstrap,
        job.inputs[0],
        map(value_of, range(COUNT)),
        keys=[b"%d" % index for index in range(COUNT)],
        headers=[[("test", b"")] if index in LEFT_OUT else [("trace", b"t")] for index in range(COUNT)],
        partitions=(index % 2 for index in range(COUNT)),
    )
    model.faults.hold_after(COUNT // 3)
    first = Yaml(job, model.uri(), tmp_path / "first")
    try:
        wait_until(lambda: model.faults.held > 0, "request that the model server holds", START_S, first)
    finally:
        first.end()
    assert sum(job.committed().values()) < COUNT
    model.faults.release()
    second = Yaml(job, model.uri(), tmp_path / "second")
    try:
        wait_until(lambda: sum(job.committed().values()) >= COUNT, "commit of all records", START_S, second)
    finally:
        second.end()
    topics.wait_for_open_transactions(job.bootstrap, job.output)

    report = job.report()
    assert (report.duplicated, report.unexpected, report.out_of_order) == ([], [], []), report
    assert {offset * 2 + partition for _, partition, offset in report.missing} == LEFT_OUT
    for record in job.predictions():
        headers = dict(record.headers)
        assert json.loads(record.value or b"") == {"y": [int(record.key or b"") * 0.5 + 2], "model": "model@1"}
        assert (headers["trace"], headers["inference.version"]) == (b"t", b"1")
    dead = {int(record.key or b""): record for record in job.dead_letters()}
    assert dead.keys() == {*POISON, NO_JSON, TOMBSTONE}
    for index, record in dead.items():
        assert record.value == value_of(index)
    told = {index: dict(record.headers)["inference.error.class"] for index, record in dead.items()}
    assert told == dict.fromkeys(POISON, b"Rejected") | {NO_JSON: b"JsonError", TOMBSTONE: b"Tombstone"}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_it_ends_where_the_topic_ended_at_its_start(
    new_job: NewJob, model: TfServingGrpcStub, tmp_path: Path, delivery: str
) -> None:
    job = new_job(model.uri(), partitions=2)
    job.produce(range(20))
    run = Yaml(job, model.uri(), tmp_path / "log", until_end="true", delivery=delivery)
    assert run.process.wait(START_S) == 0, run
    assert job.report().ok, job.report()
    assert sum(job.committed().values()) >= 20
    marked = job.end_of_output() > 20  # a transaction leaves a marker at the end of each partition
    assert marked is (delivery == "exactly_once")


def test_a_topic_that_is_not_there_is_told_before_anything_runs(
    new_job: NewJob, model: TfServingGrpcStub, tmp_path: Path
) -> None:
    job = new_job(model.uri())
    run = Yaml(job, model.uri(), tmp_path / "log", input_topic="nowhere", until_end="true")
    assert run.process.wait(START_S) != 0, run
    assert "ReadFromKafkaNative: until_end: the topic nowhere does not exist" in str(run)
