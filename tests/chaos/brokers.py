"""Faults of Kafka: a broker restarted, the leaders and coordinators of three brokers killed, a disk that is full."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.stream import NotHereError, Stream
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
