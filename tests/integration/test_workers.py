"""``--workers 2``: two processes under one parent look like one: one summary, one drain; a dead one is started again."""

from __future__ import annotations

import os
import re
import signal

from pipeline.process.cores import fitting_workers, usable_cores
from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, START_S, Scoring, wait_until
from tests.processes import alive
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

RECORDS = 30_000


def worker_pids(process: Scoring) -> list[int]:
    process.wait_for_output("2 workers: process ")
    found = re.search(r"2 workers: process (\d+), (\d+)", process.stdout)
    assert found
    return [int(pid) for pid in found.groups()]


def test_workers(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A killed worker comes back; SIGTERM drains all; the next run goes on; --max_records holds for all together."""
    session = "--kafka_config=session.timeout.ms=3000"  # how long a dead member's partitions are kept for it
    job = new_job(stub.uri(), partitions=4, flags=("--workers=2", "--max_in_flight=2", session, *SMALL_BUNDLES))
    job.produce(range(RECORDS))

    stub.faults.latency_s = 0.1
    exact = job.run("--max_records=777").summary
    assert (exact["records"], exact["predictions"]) == (777, 777)
    assert len(job.predictions()) == sum(job.committed().values()) == 777

    process = job.start()
    pids = worker_pids(process)
    shared = "two partitions with each worker"
    wait_until(lambda: sorted(job.shares().values()) == [2, 2], shared, START_S, process)
    job.wait_for_progress(1000, process, since=777)
    # Killed while its requests hang, so surely within a bundle, and not between a commit and its being counted.
    stub.faults.answer_next(None, "hang")
    stub.faults.wait_for(lambda faults: faults.in_flight >= 4, START_S)
    os.kill(pids[0], signal.SIGKILL)
    process.wait_for_output("was killed by signal 9; started again")
    stub.faults.clear()
    stub.faults.hold_after(5000)  # it can't come to the end
    job.wait_for_progress(2000, process, since=job.end_of_output())
    job.wait_for_held(stub, process)
    process.terminate()
    process.wait_for_output("draining")
    stub.faults.release()
    drained = process.done().summary
    assert not alive(pids[1]), "the parent's end is everybody's"
    assert drained["records"] == len(job.predictions()) - 777 == sum(job.committed().values()) - 777
    assert drained["records"] < RECORDS - 777

    rest = job.run("--until_end").summary
    assert rest["records"] == RECORDS - 777 - drained["records"]
    report = job.report()
    assert report.ok, report


def test_workers_to_fit(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """``--workers=auto`` says how many it takes, and of what."""
    job = new_job(stub.uri(), partitions=2, flags=("--workers=auto",))
    job.produce(range(500))
    done = job.run("--until_end")
    cores = usable_cores()
    assert f"--workers=auto: {fitting_workers(cores, 2)} ({cores:g} cores, 2 partitions)" in done.stdout
    assert done.summary["records"] == 500
    report = job.report()
    assert report.ok, report


def test_workers_end_with_a_killed_parent(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """``kill -9`` of the parent: the workers drain and end by themselves, and nothing is lost or doubled."""
    stub.faults.latency_s = 0.1
    job = new_job(stub.uri(), partitions=2, flags=("--max_in_flight=2", *SMALL_BUNDLES))
    job.produce(range(40_000))
    process = job.start("--workers=2")
    pids = worker_pids(process)
    job.wait_for_commit(200, process)
    process.kill()
    wait_until(lambda: not any(map(alive, pids)), "end of the workers", START_S)
    committed = {(job.inputs[0], partition): range(offset) for partition, offset in job.committed().items()}
    report = topics.check_exactly_once(committed, job.predictions())
    assert report.ok, report
    assert report.expected >= 200
