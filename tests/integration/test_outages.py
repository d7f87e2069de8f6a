"""Kafka or the model server goes away in mid-stream and comes back: nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, Job, job_factory, wait_until
from tests.kafka_broker import KafkaBroker
from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub


@pytest.fixture
def new_job_there(own_kafka: KafkaBroker) -> Iterator[NewJob]:
    """Makes jobs on the broker that may be killed."""
    with job_factory(own_kafka.bootstrap) as factory:
        yield factory


@pytest.mark.timeout(180)
def test_broker(new_job_there: NewJob, own_kafka: KafkaBroker, stub: TfServingGrpcStub) -> None:
    """The broker is killed, and later shut down, in mid-stream: all jobs wait for it, and go on exactly once."""
    stub.faults.latency_s = 0.05
    flags = ("--max_in_flight=4", *SMALL_BUNDLES)
    group = new_job_there(stub.uri(), partitions=2, flags=flags)
    static = new_job_there(stub.uri(), partitions=2, flags=(*flags, "--assignment=static"))
    at_least_once = new_job_there(stub.uri(), partitions=2, flags=(*flags, "--delivery=at_least_once"))
    jobs = (group, static, at_least_once)
    for job in jobs:
        job.produce(range(15_000))
    processes = [job.start("--until_end") for job in jobs]
    for job, process in zip(jobs, processes, strict=True):
        job.wait_for_progress(500, process)
    own_kafka.kill()
    time.sleep(2)
    own_kafka.start()
    ends = [job.end_of_output() for job in jobs]
    for job, process, end in zip(jobs, processes, ends, strict=True):
        job.wait_for_progress(500, process, since=end)
    own_kafka.restart()
    stub.faults.latency_s = 0
    for process in processes:
        process.done(90)
    assert group.report().ok, group.report()
    assert static.report().ok, static.report()
    assert not at_least_once.report().missing, at_least_once.report()


def members(job: Job) -> list[tuple[str, int]]:
    """The group's members and how many partitions each has."""
    admin = AdminClient({"bootstrap.servers": job.bootstrap})
    group = admin.describe_consumer_groups([job.group])[job.group].result(10)
    return [(member.member_id, len(member.assignment.topic_partitions)) for member in group.members]


@pytest.mark.timeout(180)
def test_model_server_hold(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A hold longer than max.poll.interval.ms and than the transaction's time-out, in the middle of a bundle.

    The group keeps its member and its partitions; what was answered before the outage is not stuck in an open transaction.
    """
    stub.faults.latency_s = 0.1
    job = new_job(stub.uri(), partitions=2)
    job.produce(range(20_000))
    process = job.start(
        "--until_end",
        "--max_in_flight=4",
        "--retry_deadline_s=2",
        "--kafka_config=max.poll.interval.ms=6000",
        "--kafka_config=session.timeout.ms=6000",
        "--kafka_config=transaction.timeout.ms=4000",
    )
    stub.faults.wait_for(lambda faults: faults.rows_answered > 1500, 60)
    before = members(job)
    assert [count for _, count in before] == [2]
    stub.down()
    time.sleep(10)
    assert process.running, process
    assert "WAITING for the model server" in process.stdout
    assert members(job) == before
    stub.faults.latency_s = 0
    stub.up()
    process.done(60)
    assert members(job) == []
    assert job.report().ok, job.report()
    assert process.summary["records"] == process.summary["predictions"] == 20_000
    assert "rebalanced" not in process.stdout


@pytest.mark.timeout(120)
def test_model_server_policies(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Server down past the deadline: dead_letter writes on, fail ends with 1 and commits nothing of the bundle."""
    stub.faults.latency_s = 0.1
    flags = ("--max_in_flight=2", "--retry_deadline_s=1", *SMALL_BUNDLES)
    dead_letter = new_job(stub.uri(), flags=(*flags, "--on_unavailable=dead_letter"))
    fail = new_job(stub.uri(), flags=(*flags, "--on_unavailable=fail"))
    for job in (dead_letter, fail):
        job.produce(range(12_000))
    writing, failing = dead_letter.start("--until_end"), fail.start("--until_end")
    for job, process in ((dead_letter, writing), (fail, failing)):
        job.wait_for_commit(300, process)
    stub.down()
    assert failing.wait(30) == 1
    assert "error: the model server is down" in failing.stderr
    assert "Traceback" not in failing.stderr
    wait_until(lambda: bool(dead_letter.dead_letters()), "dead letters", 30, writing)
    stub.faults.latency_s = 0
    stub.up()
    summary = writing.done().summary
    assert dead_letter.report().ok, dead_letter.report()
    assert summary["dead_letters_by_class"] == {"Unavailable": summary["dead_letters"]}
    assert summary["predictions"] >= 300
    headers = dict(dead_letter.dead_letters()[0].headers)
    assert headers["inference.error.stage"] == b"predict"
    assert int(headers["inference.error.attempts"] or b"0") > 1
    answered = failing.summary["records"]
    assert 300 <= answered < 12_000
    assert fail.run("--until_end").summary["records"] == 12_000 - answered
    assert fail.report().ok, fail.report()


def test_suspended_process(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A process that sleeps (SIGSTOP, a suspended machine) past its transaction's and its membership's time-out goes on.

    Kafka has aborted the transaction and fenced the producer meanwhile, in the same words as if somebody had taken over.
    """
    stub.faults.latency_s = 0.1
    times = ("--kafka_config=transaction.timeout.ms=2000", "--kafka_config=session.timeout.ms=2000")
    jobs = [
        new_job(stub.uri(), partitions=2, flags=("--max_in_flight=4", f"--assignment={kind}", *times, *SMALL_BUNDLES))
        for kind in ("group", "static")
    ]
    for job in jobs:
        job.produce(range(20_000))
    processes = [job.start("--until_end") for job in jobs]
    for job, process in zip(jobs, processes, strict=True):
        job.wait_for_commit(300, process)
        end = topics.end_offsets(job.bootstrap, job.output, "read_uncommitted")
        # In the middle of a transaction: its first outputs are there.
        wait_until(lambda job=job, end=end: _written(job) > sum(end.values()) + 100, "outputs", 30, process)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(5)
    stub.faults.latency_s = 0
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
    for job, process in zip(jobs, processes, strict=True):
        process.done(60)
        assert job.report().ok, job.report()


def _written(job: Job) -> int:
    return sum(topics.end_offsets(job.bootstrap, job.output, "read_uncommitted").values())


def test_retention_while_running(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Records are deleted before they are read: never skipped without a word, but exit 1, with the cure."""
    job = new_job(stub.uri(), flags=SMALL_BUNDLES)
    job.produce(range(60_000))
    stub.faults.answer_next(None, "hang")
    process = job.start("--until_end")
    stub.faults.wait_for(lambda faults: faults.in_flight > 0, 60)
    topics.delete_records(job.bootstrap, job.inputs[0], {0: 50_000})
    stub.down()  # what hangs is cut off, and sent again
    stub.faults.clear()
    stub.up()
    assert process.wait() == 1
    assert "retention deleted records before they were read" in process.stderr
    assert "--start_from=earliest" in process.stderr
    assert "Traceback" not in process.stderr


def test_same_instance_id(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A second process of the same --instance_id takes over; the first is fenced, says so and ends with 1."""
    stub.faults.latency_s = 0.1
    job = new_job(stub.uri(), partitions=2, flags=("--instance_id=replica-7", "--max_in_flight=4", *SMALL_BUNDLES))
    job.produce(range(40_000))
    first = job.start("--until_end")
    job.wait_for_progress(300, first)
    second = job.start("--until_end")
    assert first.wait() == 1
    stub.faults.latency_s = 0
    assert "error: fenced" in first.stderr
    assert "replica-7" in first.stderr
    assert "Traceback" not in first.stderr
    second.done()
    assert job.report().ok, job.report()
    assert first.summary["records"] + second.summary["records"] == 40_000


def test_suspended_process_that_was_replaced(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A process that was thought dead (suspended) and started again elsewhere under its name is fenced when it wakes up."""
    stub.faults.latency_s = 0.1
    times = ("--kafka_config=transaction.timeout.ms=2000", "--kafka_config=session.timeout.ms=6000")
    flags = ("--instance_id=replica-8", "--max_in_flight=4", *times, *SMALL_BUNDLES)
    job = new_job(stub.uri(), partitions=2, flags=flags)
    job.produce(range(30_000))
    first = job.start("--until_end")
    job.wait_for_commit(300, first)
    end = sum(topics.end_offsets(job.bootstrap, job.output, "read_uncommitted").values())
    wait_until(lambda: _written(job) > end + 100, "outputs", 30, first)
    os.kill(first.pid, signal.SIGSTOP)
    second = job.start("--until_end")
    job.wait_for_commit(sum(job.committed().values()) + 300, second)
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 1
    assert "error: fenced" in first.stderr
    stub.faults.latency_s = 0
    second.done(90)
    assert job.report().ok, job.report()
