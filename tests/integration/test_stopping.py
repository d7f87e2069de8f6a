"""How a job ends, and that the next run goes on from there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any
from uuid import uuid4

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, START_S, Job, Scoring, wait_until
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

COMPACTED = {"cleanup.policy": "compact,delete", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}


def check_drained(job: Job) -> int:
    """Checks that exactly what is committed was answered, once, and nothing thrown away; returns how much that is."""
    committed = {(job.inputs[0], partition): range(offset) for partition, offset in job.committed().items()}
    predictions = job.predictions()
    report = topics.check_exactly_once(committed, predictions, job.dead_letters())
    assert report.ok, report
    written = topics.read_all(job.bootstrap, job.output, "read_uncommitted")
    assert len(predictions) == len(written), "work in flight was thrown away"
    return report.expected


def test_max_records_is_exact_and_the_next_run_goes_on(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """So many records and no more, from the committed offsets on, over several partitions, with either assignment."""
    job = new_job(stub.uri(), partitions=3)
    job.produce(range(2000))
    summary = job.run("--max_records=1").summary
    assert (summary["records"], summary["lag"]["records"]) == (1, 1999)
    assert len(summary["lag"]["by_partition"]) == 3
    assert check_drained(job) == 1
    assert job.run("--max_records=1303", "--assignment=static").summary["records"] == 1303
    assert check_drained(job) == 1304
    summary = job.run("--until_end", "--delivery=at_least_once").summary
    assert (summary["records"], summary["lag"]["records"]) == (696, 0)
    assert job.report().ok, job.report()


@pytest.mark.parametrize("assignment", ["group", "static"])
def test_until_end_passes_over_what_is_not_there(new_job: NewJob, stub: TfServingGrpcStub, assignment: str) -> None:
    """Aborted records and markers at the end, deleted ones at the start, compacted ones between, an empty partition."""
    job = new_job(stub.uri(), partitions=4, flags=(f"--assignment={assignment}",), config=COMPACTED)
    _write_gaps(job)
    stub.faults.hold_after(0)
    process = job.start("--until_end")
    job.wait_for_held(stub, process)
    job.produce(range(3), partition=3)  # behind the ends at the start: not its business
    stub.faults.release()
    process.done()
    report = job.report()
    assert report.missing == [(job.inputs[0], 3, offset) for offset in range(3)], report
    assert dataclasses.replace(report, missing=[]).ok, report
    # At the end means behind the markers: the next run has nothing to pass over.
    ends = topics.end_offsets(job.bootstrap, job.inputs[0])
    committed = job.committed()
    assert committed.pop(3, 0) == 0
    assert committed == {partition: end for partition, end in ends.items() if partition != 3}
    assert job.run("--until_end").summary["records"] == 3
    assert job.run("--until_end").summary["records"] == 0
    assert job.report().ok


def _write_gaps(job: Job) -> None:
    """Only partition 2 has keys that come again, and what compaction can take from it is gone before this returns."""

    def produce(partition: int, count: int, keys: int | None = None, **kind: Any) -> None:
        names = [f"key-{i % keys if keys else uuid4()}".encode() for i in range(count)]
        values = [b"[%d]" % i for i in range(count)]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=names, partitions=[partition] * count, **kind)

    for kind in ("commit", "abort", "commit", "abort", "abort"):
        produce(0, 10, transaction=kind)
    produce(1, 50)
    produce(1, 10, transaction="abort")
    topics.delete_records(job.bootstrap, job.inputs[0], {1: 20})
    for transaction in (None, None, None, "commit"):
        produce(2, 10, keys=7, transaction=transaction)
        time.sleep(0.15)  # the next one is in a segment of its own
    produce(2, 1, transaction="commit")
    found: dict[tuple[str, int], set[int]] = {}

    def compacted() -> bool:
        found.update(topics.offsets_of(topics.read_all(job.bootstrap, job.inputs[0])))
        return len(found[job.inputs[0], 2]) == 7 + 1  # one of each key: nothing is left to compact

    wait_until(compacted, "compaction", START_S)
    topics.set_config(job.bootstrap, job.inputs[0], {"cleanup.policy": "delete"})  # nor does it begin anew


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "duration"])
def test_drain(new_job: NewJob, stub: TfServingGrpcStub, how: str) -> None:
    """In mid-stream: reading stops, what is in flight is finished and committed, exit 0; the next run goes on from there."""
    job = new_job(stub.uri(), partitions=2, flags=("--max_in_flight=4", *SMALL_BUNDLES))
    job.produce(range(60_000))
    if how == "duration":
        stub.faults.latency_s = 0.5  # 4 requests of 256 rows in it at most: far from the end, whatever the machine
        process = job.start("--duration_s=8").done()
    else:
        stub.faults.hold_after(2000)
        process = job.start()
        job.wait_for_commit(500, process, stub=stub)
        job.wait_for_held(stub, process)
        process.interrupt() if how == "SIGINT" else process.terminate()
        process.wait_for_output("draining")
        stub.faults.release()
        process.done()
    answered = check_drained(job)
    assert (0 if how == "duration" else 500) <= answered < 60_000
    summary = process.summary
    assert (summary["records"], summary["predictions"], summary["rollbacks"]) == (answered, answered, 0)
    stub.faults.latency_s = 0
    assert job.run("--until_end").summary["records"] == 60_000 - answered
    assert job.report().ok, job.report()


@pytest.mark.usefixtures("real_starts")  # which takes seconds
def test_a_signal_during_the_start(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """While Beam is still being loaded there is nothing to drain: exit 0 at once, without a trace."""
    job = new_job(stub.uri())
    job.produce(range(10))
    processes = [job.start(), job.start()]
    for process, number in zip(processes, (Scoring.interrupt, Scoring.terminate), strict=True):
        process.wait_until_it_catches_signals()
        number(process)
    for process in processes:
        process.done()
        assert "stopped before anything was read" in process.stderr
        assert "Traceback" not in process.stderr
    assert job.committed() == {}


def test_a_second_signal_stops_at_once(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """While a request hangs: nothing of its bundle is committed."""
    job = new_job(stub.uri())
    job.produce(range(10))
    stub.faults.answer_next(None, "hang")
    process = job.start()
    stub.faults.wait_for(lambda faults: faults.in_flight > 0, START_S)
    process.interrupt()
    process.wait_for_output("draining")
    time.sleep(1)
    assert process.running, "the first signal waits for what is in flight"
    process.terminate()
    assert process.wait() == 128 + 15
    assert job.committed() == {0: 0}, "where it began"
    assert job.predictions() == []


def test_drain_while_the_model_server_is_down(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A job that holds ends within the retry deadline; its bundle is not committed, and scored by the next run."""
    job = new_job(stub.uri(), flags=("--retry_deadline_s=2",))
    job.produce(range(1000))
    stub.faults.fail_next(None, "UNAVAILABLE")
    process = job.start("--request_timeout_ms=1000")
    process.wait_for_output("WAITING for the model server")
    process.terminate()
    process.done()
    assert process.summary["records"] == 0
    assert job.committed() == {0: 0}, "where it began"
    stub.faults.clear()
    assert job.run("--until_end").summary["records"] == 1000
    assert job.report().ok, job.report()


def test_drain_while_the_model_server_is_down_under_a_rate_limit(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """What was answered before may have cost money: it is committed, though its bundle is not complete."""
    job = new_job(stub.uri(), flags=("--batch_max_size=1", "--max_in_flight=4"))
    job.produce(range(200))
    stub.faults.hold_after(12)  # of the 50 of a bundle
    process = job.start("--rate_limit=20/s")
    job.wait_for_held(stub, process)
    stub.faults.fail_next(None, "RESOURCE_EXHAUSTED", retry_after_s=30)  # longer than a bundle may wait when the job stops
    stub.faults.release()
    process.wait_for_output("WAITING for the model server")
    process.terminate()
    process.done()
    assert check_drained(job) >= 8, "all but those in flight"
    assert process.summary["rollbacks"] == 0
    stub.faults.clear()
    assert job.run("--until_end").summary["records"] == 200 - process.summary["records"]
    assert job.report().ok, job.report()


def test_start_from(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Earliest, latest and a time reset the group; committed goes on; a group with members can't be reset."""
    job = new_job(stub.uri(), partitions=2)
    start = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    for topic in (job.inputs[0], job.output):  # else Kafka may delete what is so old meanwhile
        topics.configure(job.bootstrap, topic, {"retention.ms": "-1"})
    values = [b"[%d]" % i for i in range(100)]
    times = [start + i * 60_000 for i in range(100)]
    topics.produce(job.bootstrap, job.inputs[0], values, timestamps_ms=times, partitions=[i % 2 for i in range(100)])
    assert job.run("--until_end", "--start_from=2026-01-01T01:00:00+00:00").summary["records"] == 40
    assert {_x(record.value) for record in job.predictions()} == set(range(60, 100))
    earliest = job.run("--until_end", "--start_from=earliest")
    assert earliest.summary["records"] == 100
    assert "--start_from=earliest: 100 records will be read again" in earliest.stdout
    assert job.run("--until_end", "--start_from=2027-01-01").summary["records"] == 0
    latest = job.start("--start_from=latest", "--max_records=7")
    latest.wait_for_output("scoring ")
    job.produce(range(1000, 1007))
    latest.done()
    assert {_x(record.value) for record in job.predictions()} == {*range(100), *range(1000, 1007)}
    member = job.start()
    job.produce([2000])
    wait_until(lambda: any(_x(record.value) == 2000 for record in job.predictions()), "its answer", START_S, member)
    refused = job.start("--start_from=earliest", "--start_from_again", "--until_end")
    assert refused.wait() == 2
    assert "members" in refused.stderr
    member.terminate()
    member.done()


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("assignment", ["group", "static"])
def test_a_start_from_is_applied_once(new_job: NewJob, stub: TfServingGrpcStub, delivery: str, assignment: str) -> None:
    """A service is started again with the flags it has: it goes on, from whatever machine, with other starts in between."""
    job = new_job(stub.uri(), partitions=2, flags=(f"--delivery={delivery}", f"--assignment={assignment}"))
    job.produce(range(20))
    for first in ("earliest", "2026-01-01"):
        assert job.run("--until_end", f"--start_from={first}").summary["records"] == 20
    again = job.run("--until_end", "--start_from=earliest")
    assert again.summary["records"] == 0
    assert "was applied to group" in again.stdout
    job.produce(range(20, 25))
    assert job.run("--until_end").summary["records"] == 5, "without the flag"
    job.produce(range(25, 30))
    assert job.run("--until_end", "--start_from=2026-01-01").summary["records"] == 5
    assert job.run("--until_end", "--start_from=earliest", "--start_from_again").summary["records"] == 30


_DIES_IN_A_REBALANCE = """
import os, sys, time
import confluent_kafka as ck

bootstrap, group, topic = sys.argv[1:]

def member():
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": group, "session.timeout.ms": 10_000})
    consumer.subscribe([topic])
    return consumer

first = member()
while not first.assignment():
    first.poll(0.1)
second = member()  # joins, and waits for the first one, which is not polled any more
stop = time.monotonic() + 3
while time.monotonic() < stop:
    second.poll(0.1)
os._exit(9)
"""


def test_a_group_that_was_killed_in_a_rebalance_can_be_reset(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """The member that waits for the others has its session time-out only after theirs."""
    job = new_job(stub.uri(), partitions=2)
    job.produce(range(10))
    code = [sys.executable, "-c", _DIES_IN_A_REBALANCE, job.bootstrap, job.group, job.inputs[0]]
    assert subprocess.run(code, check=False, timeout=START_S).returncode == 9
    assert job.run("--until_end", "--start_from=earliest").summary["records"] == 10


def _x(value: bytes | None) -> int:
    return int((json.loads(value or b"")["y"][0] - 2) * 2)


def test_added_partitions(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Partitions added while jobs run are read from their first record, with either assignment."""
    refresh = "--kafka_config=topic.metadata.refresh.interval.ms=1000"
    jobs = [new_job(stub.uri(), flags=(refresh, f"--assignment={kind}", "--max_records=60")) for kind in ("group", "static")]
    processes: list[Scoring] = []
    for job in jobs:
        job.produce(range(20))
        processes.append(job.start())
    for job, process in zip(jobs, processes, strict=True):
        job.wait_for_progress(20, process)
        topics.add_partitions(job.bootstrap, job.inputs[0], 3)
        job.produce(range(40), partition=2)
    for job, process in zip(jobs, processes, strict=True):
        process.done()
        assert job.report().ok, job.report()
