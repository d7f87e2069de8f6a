"""Faults of a runner's workers, where shards move: killed, and followed by a job that divides the partitions otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Iterator

from pipeline.cli.beam_values import beam_value
from pipeline.runners.prism import with_prism
from tests.beam_workers import WorkerPool, worker_pool
from tests.chaos.processes import in_mid_stream
from tests.chaos.stream import GOES_ON_S, NotHereError, Stream
from tests.integration.process import Scoring, wait_until
from transforms.errors import ContractError

BOTH_S = 3.0
"""How long two jobs have a worker, at most: they take the partitions from each other."""

DIVISIONS = ((), ("--max_num_workers=1",))
"""Flags of one job and of the next: a shard a partition, or four shards. So most partitions come to another shard."""


@dataclasses.dataclass
class Running:
    """A job that the runner has.

    Attributes:
        process: The command that has submitted it, and watches it.
        worker: The process id of its only worker.
    """

    process: Scoring
    worker: int


class Runner:
    """Prism, with workers that are processes of their own.

    Args:
        stream: Whose job it runs.
        endpoint: Prism's.
        pool: Starts the workers.
    """

    def __init__(self, stream: Stream, endpoint: str, pool: WorkerPool):
        self._stream, self._pool, self._started = stream, pool, 0
        self._flags = (
            "--runner=PortableRunner",
            f"--job_endpoint={endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={pool.address}",
            "--until_end",
        )

    def start(self) -> Running:
        """Submits the job, in another number of shards than the last time, and waits for its worker."""
        before = set(self._pool.workers)
        process = self._stream.job.start(*self._flags, *DIVISIONS[self._started % len(DIVISIONS)])
        self._started += 1
        wait_until(lambda: bool(set(self._pool.workers) - before), "worker of the runner", GOES_ON_S, process)
        [worker] = set(self._pool.workers) - before
        return Running(process, worker)


@contextlib.contextmanager
def _runner(stream: Stream) -> Iterator[Runner]:
    with contextlib.ExitStack() as stack:
        try:
            options = stack.enter_context(with_prism((), stream.say))
        except ContractError as error:
            raise NotHereError(str(error)) from error
        yield Runner(stream, beam_value(options, "job_endpoint") or "", stack.enter_context(worker_pool()))


def kill_workers(stream: Stream, times: int) -> None:
    """The worker is killed at any moment: Prism gives the job up, and the command ends. The next job has other shards.

    Every other time the next one begins before, so that the worker that is killed is one that is being fenced.
    """
    with _runner(stream) as runner:
        stream.fill(stream.planned)
        stream.throttle(1 / (times + 1))
        running = runner.start()
        for time_left in range(times, 0, -1):
            in_mid_stream(stream, time_left, running.process)
            with stream.fault():
                following = None
                if time_left % 2:
                    following = runner.start()
                    stream.throttle(1 / (2 * time_left + 1))
                    time.sleep(stream.rng.uniform(0, BOTH_S))
                os.kill(running.worker, signal.SIGKILL)
                assert running.process.wait(GOES_ON_S) == 1, running.process
                stream.throttle(1 / time_left)
                running = following or runner.start()
        stream.finish(running.process)
