"""Faults of Kafka: a broker restarted, the leaders and coordinators of three brokers killed, topics that change."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import topics
from tests.chaos.stream import NotHereError, Stream
from tests.integration.process import START_S
from tests.kafka_broker import TO_BE_KILLED, KafkaBroker
from tests.kafka_cluster import KafkaCluster

DISK_BYTES = 64 << 20
AWAY_S = 180


INSTANCE = "chaos"
"""The job's ``--instance_id`` where its transactional id must be known."""


def restart(stream: Stream, times: int) -> None:
    """The only broker is killed, or shut down, and comes back after a second."""
    with KafkaBroker(properties=TO_BE_KILLED) as broker, stream.elsewhere(broker.bootstrap):

        def away(time_left: int) -> None:
            broker.kill() if time_left % 2 else broker.stop()
            time.sleep(1)
            broker.start()

        stream.with_one_process(times, away)
        stream.settle()


def away_for_long(stream: Stream, times: int) -> None:
    """The only broker is killed, and stays away for longer than any time-out of clients and transactions."""
    with KafkaBroker(properties=TO_BE_KILLED) as broker, stream.elsewhere(broker.bootstrap):

        def away(_: int) -> None:
            broker.kill()
            time.sleep(AWAY_S)
            broker.start()

        stream.with_one_process(times, away)
        stream.settle()


def coordinators(stream: Stream, times: int) -> None:
    """Of three brokers the output's leader, the group's and the transactions' coordinator is killed, and comes back."""
    with KafkaCluster() as cluster, stream.elsewhere(cluster.bootstrap):
        job = stream.job
        roles = [
            lambda: cluster.leader(job.output),
            lambda: cluster.group_coordinator(job.group),
            lambda: cluster.transaction_coordinator(f"{job.group}-{INSTANCE}"),
            lambda: cluster.leader(job.inputs[0]),
        ]
        if not stream.exactly_once:
            del roles[2]

        def away(time_left: int) -> None:
            node = roles[time_left % len(roles)]()
            cluster.kill(node)
            stream.goes_on()
            cluster.start(node)

        stream.with_one_process(times, away)
        stream.settle()


def disk_full(stream: Stream, times: int) -> None:
    """The broker's disk (a small tmpfs) is full, so that it ends; it comes back when there is room."""
    with _small_disk() as folder, KafkaBroker(properties=TO_BE_KILLED, data_folder=folder / "data") as broker:
        filler = folder / "filler"
        with stream.elsewhere(broker.bootstrap):

            def full(_: int) -> None:
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 16))
                stream.stub.faults.release()
                broker.wait()  # Kafka ends when it can't write
                filler.unlink()
                broker.stop()
                broker.start()

            stream.with_one_process(times, full)
            stream.settle()


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="small-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHereError(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def add_partitions(stream: Stream, times: int) -> None:
    """The input topic gets more partitions, which have records at once."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    share = stream.planned // (times + 1)
    stream.fill(share)
    process = stream.job.start()
    for _ in range(times):
        with stream.fault(process):
            topics.add_partitions(bootstrap, topic, topics.partition_count(bootstrap, topic) + 1)
            stream.fill(share)
    stream.drain(process)


def aborted_transactions(stream: Stream, times: int) -> None:
    """The input has gaps: aborted transactions between its records, and markers of committed ones."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    count = topics.partition_count(bootstrap, topic)
    for index in range(times):
        stream.fill(stream.planned // times)
        never = (b'{"x": [-7]}' for _ in range(100))
        topics.produce(bootstrap, topic, never, partitions=(n % count for n in range(100)), transaction="abort")
        stream.faults += 1
        stream.say(f"aborted transaction {index + 1}")
    stream.job.run("--until_end")


def retention(stream: Stream, times: int) -> None:
    """Records are deleted before they are read: the job ends and says how many; ``--start_from=earliest`` goes on."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    stream.fill(stream.planned)
    for _ in range(times):
        stream.throttle(0.2)
        process = stream.job.start("--until_end", "--kafka_config=session.timeout.ms=6000")
        stream.stub.faults.wait_for(lambda faults: faults.held > 0, START_S)
        ends = topics.end_offsets(bootstrap, topic)
        before = {partition: min(offset + 1000, ends[partition]) for partition, offset in stream.job.committed().items()}
        topics.delete_records(bootstrap, topic, before)
        stream.faults += 1
        stream.stub.faults.release()
        assert process.wait() == 1, process
        assert "retention has deleted" in process.stderr, process
        # What was committed since then was read before it was deleted.
        for partition, offset in stream.job.committed().items():
            stream.gone |= {(topic, partition, at) for at in range(offset, before[partition])}
        process = stream.job.start("--max_records=1", "--start_from=earliest", "--kafka_config=session.timeout.ms=6000")
        process.done()
    stream.finish()
