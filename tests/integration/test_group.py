"""Processes of one group share the partitions: one joins, one leaves, one dies, and every record is scored once."""

from __future__ import annotations

import collections
import re

from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, START_S, Job, Scoring, wait_until
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

BACKLOG = 20_000


def scored(job: Job, process: Scoring, stub: TfServingGrpcStub) -> None:
    """Waits until the process has had answers from its stub, which shows that it has partitions."""

    def enough() -> bool:
        job.keep_busy(BACKLOG)
        return stub.faults.rows_answered > 1000

    wait_until(enough, "1,000 answers to a process that joined", START_S, process)


def test_join_leave_and_die(new_job: NewJob) -> None:
    """The first process has company twice: one that leaves by SIGTERM, one that is killed. Each has a stub of its own.

    There are always records left while a process is waited for, however long that takes.
    """
    with TfServingGrpcStub() as first, TfServingGrpcStub() as second, TfServingGrpcStub() as third:
        job = new_job(
            first.uri(),
            partitions=4,
            flags=(
                "--max_in_flight=2",
                *SMALL_BUNDLES,
                # Soon enough for a test: how long the partitions and the open transaction of a dead process are kept.
                "--kafka_config=session.timeout.ms=3000",
                "--kafka_config=transaction.timeout.ms=4000",
            ),
        )
        job.keep_busy(BACKLOG)
        for version, stub in enumerate((first, second, third), 1):
            stub.model.flip(version)
            stub.faults.latency_s = 0.06
        staying = job.start()
        job.wait_for_progress(500, staying)
        leaving = job.start(f"--model={second.uri()}")
        scored(job, leaving, second)
        # As its own status says, that some of it is committed.
        wait_until(lambda: re.search(r"^[1-9][\d,]* records", leaving.stdout, re.M) is not None, "commits", START_S, leaving)
        leaving.terminate()
        left = leaving.done().summary
        assert 0 < left["records"] <= second.faults.rows_answered, "it really had partitions"
        before = first.faults.rows_answered
        dying = job.start(f"--model={third.uri()}")
        scored(job, dying, third)
        wait_until(lambda: first.faults.rows_answered > before, "answers to the first: they share", START_S, staying)
        dying.kill()
        for stub in (first, third):
            stub.faults.latency_s = 0
        job.wait_for_commit(job.produced, staying)
        staying.terminate()
        stayed = staying.done().summary
    report = job.report()
    assert report.ok, report
    answered_by = collections.Counter(dict(record.headers)["inference.version"] for record in job.predictions())
    assert answered_by[b"1"] == stayed["records"]
    assert answered_by[b"2"] == left["records"]
    assert answered_by.total() == job.produced  # the rest is what the killed one had committed, if it came to that


def test_two_that_end_together(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """With --until_end both end at the ends of the whole group, not of their own share alone, and the counts add up."""
    stub.faults.latency_s = 0.05
    job = new_job(stub.uri(), partitions=3, flags=("--max_in_flight=2", *SMALL_BUNDLES))
    job.produce(range(9000))
    processes = [job.start("--until_end"), job.start("--until_end")]
    summaries = [process.done().summary for process in processes]
    assert sum(summary["records"] for summary in summaries) == 9000
    assert job.report().ok, job.report()
