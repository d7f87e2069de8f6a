"""Faults of a Flink cluster: its Python workers and its task managers are killed while a job is under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.chaos.processes import in_mid_stream
from tests.chaos.stream import GOES_ON_S, NotHereError, Stream
from tests.flink_cluster import FlinkCluster, FlinkError
from tests.integration.process import Running, wait_until

FLAGS = ("--parallelism=2", "--checkpointing_interval=2000")
"""Two shards, of which a kill hits one or, after another kill, both; and a state to go back to that is seconds old."""

TASK_MANAGERS = 4
"""One kill in so many is of a task manager, whose workers end with it; the others are of a worker."""


@contextlib.contextmanager
def _cluster() -> Iterator[FlinkCluster]:
    try:
        cluster = FlinkCluster()
    except FlinkError as error:
        raise NotHereError(str(error)) from error
    with cluster:
        yield cluster


def _kill_worker(cluster: FlinkCluster, stream: Stream, process: Running) -> None:
    number = stream.rng.randrange(len(cluster.task_managers))
    wait_until(lambda: cluster.kill_worker(number) is not None, "worker to kill", GOES_ON_S, process)


def _kill_task_manager(cluster: FlinkCluster, stream: Stream) -> None:
    victim = stream.rng.choice(cluster.task_managers)
    victim.jvm.kill()
    victim.close()
    cluster.task_managers.remove(victim)
    cluster.add_task_manager(wait=False)


def kill(stream: Stream, times: int) -> None:
    """A Python worker or a task manager is killed at any moment; Flink goes back to its last checkpoint."""
    with _cluster() as cluster:
        stream.fill(stream.planned)
        stream.throttle(1 / (times + 1))
        process = stream.job.start("--until_end", *cluster.flags, *FLAGS)
        for time_left in range(times, 0, -1):
            in_mid_stream(stream, time_left, process)
            with stream.fault(process):
                if time_left % TASK_MANAGERS:
                    _kill_worker(cluster, stream, process)
                else:
                    _kill_task_manager(cluster, stream)
                stream.throttle(1 / time_left)
        stream.finish(process)
