"""``python -m pipeline.check`` against a real Apache Kafka: it looks at what a run would read, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        yield stub


def check(job: Job, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "pipeline.check", f"--bootstrap_servers={job.bootstrap}", f"--group_id={job.group}"),
        *(f"--input_topic={job.inputs[0]}", f"--output_topic={job.output}", *job.flags, *flags),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def groups(job: Job) -> set[str]:
    admin = AdminClient({"bootstrap.servers": job.bootstrap})  # a name of its own: it must live until the answer is there
    listed = admin.list_consumer_groups().result(30)
    return {group.group_id for group in listed.valid}


def test_it_leaves_no_group_no_offset_and_no_topic(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    job = new_job(stub.uri(), partitions=3)
    job.produce(range(30))
    done = check(job, "--sample=12", "--dead_letter_topic=never-made", "--start_from=earliest")
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 records read, 12 fit" in done.stdout
    assert "would read 30" in done.stdout
    assert job.group not in groups(job)
    assert job.committed() == {}
    assert "never-made" not in AdminClient({"bootstrap.servers": job.bootstrap}).list_topics(timeout=30).topics


def test_beside_a_run_it_looks_at_what_comes_next(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Also at a topic that a transaction wrote, whose markers take offsets of their own."""
    first = new_job(stub.uri())
    first.produce(range(20))
    first.run("--until_end")
    before = first.committed()
    first.produce([7])
    done = check(first, "--sample=1", "--show_values")
    assert "would read 1" in done.stdout
    assert "[7]" in done.stdout
    assert first.committed() == before
    written = Job(first.bootstrap, (first.output,), first.inputs[0], first.group, first.flags)
    done = check(written, "--sample=100")
    assert done.returncode == 2
    assert "none of the 20 records read fits model: x: missing in 20 of 20" in done.stderr
    assert len(topics.read_all(first.bootstrap, first.output)) == 20
