"""The native source and sink on a real Flink cluster: the same records as locally, and exactly once whatever is killed.

What a checkpoint holds is only that a shard is to be polled; what is done is in Kafka. So these tests kill processes at
moments that have nothing to do with Flink's checkpoints (every 2 s here), and count.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runners.flink.rest import FlinkRest
from tests import topics
from tests.dataflow.staged import localized, running_on
from tests.dataflow.submitting import IMAGE, job_named, run, staged
from tests.flink_cluster import FlinkCluster
from tests.google_cloud import GoogleCloud
from tests.integration import same_records
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, Job, Running, wait_until
from tests.otlp_receiver import receiving
from tests.processes import alive
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import KafkaRecord

START_S = 400.0
"""How long it may take from the submission to the first commit, on a busy machine: the job server sends 150 MB of jars,
Python loads Beam."""

RECORDS = 100_000
KILLS = 6
PARTITIONS = 4
CHECKPOINTS = "--checkpointing_interval=2000"

LONG_TRANSACTIONS = ("--max_in_flight=6", "--batch_max_size=16", "--kafka_config=linger.ms=0", *SMALL_BUNDLES)
"""Outputs are written one request after the other, so that most kills meet an open transaction."""

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def flink() -> Iterator[FlinkCluster]:
    """Two task managers of two slots, so that one alone can take the whole of a job of two shards."""
    with FlinkCluster() as cluster:
        yield cluster
        print(cluster.logs())


def on_flink(job: Job, cluster: FlinkCluster, parallelism: int = 2) -> Job:
    """The job, as it is run on the cluster."""
    job.flags = (*job.flags, *cluster.flags, f"--parallelism={parallelism}", CHECKPOINTS)
    return job


def test_same_as_locally(new_job: NewJob, flink: FlinkCluster, stub: TfServingGrpcStub) -> None:
    """Keys, values, timestamps, headers, partitions and dead letters are those of the DirectRunner, in the same order."""
    local = new_job(stub.uri(), partitions=PARTITIONS, outputs=3)
    twin = new_job(stub.uri(), partitions=1, outputs=3)
    remote = on_flink(dataclasses.replace(twin, inputs=local.inputs), flink)
    now_ms = time.time_ns() // 1_000_000  # an older one would be deleted by retention
    poison = [b"not JSON", None, b"", b'{"x": ["text"]}']
    values = [poison[i // 100 % 4] if i % 100 == 7 else b'{"x": [%d]}' % i for i in range(4000)]
    topics.produce(
        local.bootstrap,
        local.inputs[0],
        values,
        keys=(b"key-%d" % (i % 50) if i % 3 else None for i in range(len(values))),
        headers=([("traceparent", b"00-%d" % i)] for i in range(len(values))),
        timestamps_ms=(now_ms + i for i in range(len(values))),
        partitions=(i % PARTITIONS for i in range(len(values))),
    )
    stub.faults.poison = same_records.is_poison
    same_records.produce(local.bootstrap, local.inputs[0], PARTITIONS, now_ms)
    total = len(values) + PARTITIONS * len(same_records.RECORDS)
    local.run("--until_end")
    process = remote.start("--until_end").done(START_S)
    for job in (local, remote):
        assert job.report().ok, job.report()
    assert same_records.comparable(remote.predictions()) == same_records.comparable(local.predictions())
    assert same_records.comparable(remote.dead_letters()) == same_records.comparable(local.dead_letters())
    assert process.summary["records"] == total
    assert "submitted in 2 shards for 4 partitions" in process.stdout
    assert not flink_jobs(flink), "nothing is left running"


def flink_jobs(cluster: FlinkCluster) -> list[str]:
    """The ids of the jobs that have not ended."""
    return [job for job, state in cluster.jobs().items() if state not in ("CANCELED", "FAILED", "FINISHED")]


def test_kills(new_job: NewJob, flink: FlinkCluster, stub: TfServingGrpcStub) -> None:
    """``kill -9`` of a task manager, then of a Python worker that has taken over all of it, in mid-stream.

    The model server answers so many rows and no more, until both have happened: the job can't come to its end before.
    """
    stub.faults.latency_s = 0.02
    stub.faults.hold_after(RECORDS - 10_000)
    job = on_flink(new_job(stub.uri(), partitions=PARTITIONS, flags=LONG_TRANSACTIONS), flink)
    job.produce(range(RECORDS))
    process = job.start("--until_end")
    job.wait_for_progress(3000, process, timeout_s=START_S)
    assert all(manager.workers for manager in flink.task_managers), "each has its share"

    victim = flink.task_managers[0]
    orphans = victim.workers
    wait_for_open_outputs(job, process)
    victim.jvm.kill()
    job.wait_for_progress(5000, process, job.end_of_output(), START_S)
    wait_until(lambda: not any(alive(pid) for pid in orphans), "end of the dead task manager's workers", START_S)
    victim.close()
    flink.task_managers.remove(victim)

    flink.add_task_manager()
    wait_for_open_outputs(job, process)
    killed = flink.task_managers[0].kill_worker()
    job.wait_for_progress(5000, process, job.end_of_output(), START_S)
    assert killed not in flink.task_managers[0].workers

    assert sum(job.committed().values()) < RECORDS, "the kills were to hit in mid-stream"
    stub.faults.clear()
    process.done(START_S)
    report = job.report()
    assert report.ok, report
    assert report.expected == RECORDS
    assert process.stdout.count("Flink has started the job again") >= 2
    wrong = [record for record in job.predictions() if not right(record)]
    assert not wrong


def test_kills_of_the_graph_for_dataflow(
    new_job: NewJob, flink: FlinkCluster, stub: TfServingGrpcStub, tmp_path: Path
) -> None:
    """What is staged for Dataflow, by its shards that move: ``kill -9`` of Python workers, again and again, in mid-stream.

    Changed for it: the container's image, to the workers that are here.
    """
    job = new_job(stub.uri(), partitions=PARTITIONS, flags=LONG_TRANSACTIONS)
    with GoogleCloud(tmp_path) as cloud:
        submitted = run(cloud, *job.command(*cloud.flags(), f"--sdk_container_image={IMAGE}", "--max_num_workers=1"))
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
        pipeline = staged(cloud, job_named(cloud, "scoring"))
    assert "4 shards for 4 partitions" in submitted.stdout
    local = localized(pipeline, IMAGE, flink.pool, None)
    job.produce(range(RECORDS))
    options = {"parallelism": 2, "checkpointing_interval": "2000", "max_bundle_time_mills": "4"}
    stub.faults.latency_s = 0.02
    stub.faults.hold_after(RECORDS - 10_000)
    try:
        with running_on(flink.job_endpoint, local, **options) as running:
            for kill in range(KILLS):
                least = kill * RECORDS // (KILLS + 2) + 1000
                wait_until(lambda least=least: sum(job.committed().values()) >= least, "progress", START_S, running)  # type: ignore[misc]
                wait_for_open_outputs(job, running)
                wait_until(lambda number=kill: flink.kill_worker(number) is not None, "worker to kill", START_S, running)  # type: ignore[misc]
            assert sum(job.committed().values()) < RECORDS, "the kills were to hit in mid-stream"
            stub.faults.clear()
            wait_until(lambda: sum(job.committed().values()) >= RECORDS, "all records", START_S, running)
    finally:
        for left in flink_jobs(flink):  # cancelled by the job server, it runs on (seen with 2.62)
            FlinkRest(flink.rest).cancel(left)
        wait_until(lambda: not flink_jobs(flink), "end of the job", START_S)
    report = job.report()
    assert report.ok, report
    assert report.expected == RECORDS


def wait_for_open_outputs(job: Job, process: Running) -> None:
    """Waits until outputs are written that are not committed: a kill now may hit in the middle of a transaction."""

    def there() -> bool:
        written = topics.end_offsets(job.bootstrap, job.output, "read_uncommitted")
        return sum(written.values()) > job.end_of_output()

    wait_until(there, "outputs in an open transaction", START_S, process)


def right(record: KafkaRecord) -> bool:
    """Whether the value is that of the record it names."""
    _, partition, offset = topics.source_of(record) or ("", 0, -1)
    return bool(json.loads(record.value or b"") == {"y": [0.5 * (offset * PARTITIONS + partition) + 2]})


def test_cancel_and_rescale(new_job: NewJob, flink: FlinkCluster, stub: TfServingGrpcStub) -> None:
    """SIGTERM cancels the job on Flink; it is submitted again with another parallelism and goes on, exactly once.

    The second one is traced, by the workers of both task managers: the span of a record is in the prediction's header.
    """
    stub.faults.latency_s = 0.05
    job = on_flink(new_job(stub.uri(), partitions=PARTITIONS, flags=("--max_in_flight=4", *SMALL_BUNDLES)), flink, 3)
    job.produce(range(30_000))
    stub.faults.hold_after(10_000)
    first = job.start()
    job.wait_for_progress(2000, first, timeout_s=START_S)
    first.terminate()
    assert first.wait(START_S) == 0, first
    assert "cancelling the job" in first.stdout
    assert not flink_jobs(flink)
    stub.faults.clear()
    with receiving() as receiver:
        second = job.start("--until_end", "--parallelism=2", f"--otlp_endpoint={receiver.url}").done(START_S)
    assert job.report().ok, job.report()
    assert second.summary["records"] < 30_000
    of_records = {span.span_id: span for span in receiver.named(f"process {job.inputs[0]}")}
    requests = {span.span_id for span in receiver.named("predict model")}
    named = [dict(record.headers).get("traceparent") for record in job.predictions()]
    told = [
        of_records[span]
        for header in named
        if header and (span := bytes.fromhex(header.decode().split("-")[2])) in of_records
    ]
    assert any(link.span_id in requests for span in told for link in span.links)
    assert len({it["service.instance.id"] for it in receiver.resources}) >= 2, "each worker has its own name"
