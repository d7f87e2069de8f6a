"""Faults of a runner's workers, where shards move: killed, and followed by a job that divides the partitions otherwise."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from pipeline.cli.beam_values import beam_value
from pipeline.runners.prism import with_prism
from tests.beam_workers import WorkerPool, worker_pool
from tests.chaos.processes import in_mid_stream
from tests.chaos.stream import GOES_ON_S, NotHereError, Stream
from tests.integration.process import wait_until
from transforms.errors import ContractError

BOTH_S = 3.0
"""How long two jobs have a worker, at most: they take the partitions from each other."""

DIVISIONS = ((), ("--max_num_workers=1",))
"""Flags of one job and of the next: a shard a partition, or four shards. So most partitions come to another shard."""

NOTICES_S = 5.0
"""How long Prism may take to give a job up whose worker is gone."""

FAILED = 1
"""Exit status of the command when the runner gives the job up."""


class Kept:
    """A job on Prism, started again when it has failed, as a service manager does.

    Prism gives a job up whose worker is gone, or is fenced in the middle of a bundle.

    Args:
        stream: Whose job it is.
        pool: Starts its worker.
        flags: Of the command that submits it and watches it.
    """

    def __init__(self, stream: Stream, pool: WorkerPool, flags: tuple[str, ...]):
        self._stream, self._pool, self._flags = stream, pool, flags
        self._worker: int | None = None
        self._start()

    def _start(self) -> None:
        self._before, self._worker = set(self._pool.workers), None
        self._process = self._stream.job.start(*self._flags)

    @property
    def running(self) -> bool:
        """Whether it runs, or is done. One that has failed is started again now."""
        if not self._process.running and self._process.wait() == FAILED:
            self._stream.say("Prism has given the job up; it is started again")
            self._start()
        return True

    def wait_for_worker(self) -> None:
        """Waits until the runner has a worker for it."""
        wait_until(self._find_worker, "worker of the runner", GOES_ON_S, self)

    def kill(self) -> None:
        """``kill -9`` of its worker, which is the end of the job. One that was fenced may have ended before.

        Prism 2.77 does not always notice that a worker has gone: the job stands still then, and is cancelled.
        """
        wait_until(lambda: self._find_worker() or not self._process.running, "worker of the runner", GOES_ON_S)
        if self._worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGKILL)
        try:
            wait_until(lambda: not self._process.running, "end of the job", NOTICES_S)
        except AssertionError:
            self._stream.say("Prism has not noticed that the worker is gone; the job is cancelled")
            self._process.terminate()
        self._process.wait(GOES_ON_S)

    def done(self) -> None:
        """Waits for its good end."""
        wait_until(lambda: self.running and not self._process.running, "end of the job", GOES_ON_S, self)
        self._process.done()

    def _find_worker(self) -> bool:
        if self._worker is None:  # else a later one may be of the next job
            self._worker = next(iter(set(self._pool.workers) - self._before), None)
        return self._worker is not None

    def __str__(self) -> str:
        return str(self._process)


class Prism:
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

    def start(self) -> Kept:
        """Submits the job, in another number of shards than the last time."""
        division = DIVISIONS[self._started % len(DIVISIONS)]
        self._started += 1
        return Kept(self._stream, self._pool, (*self._flags, *division))


@contextlib.contextmanager
def _prism(stream: Stream) -> Iterator[Prism]:
    with contextlib.ExitStack() as stack:
        try:
            options = stack.enter_context(with_prism((), stream.say))
        except ContractError as error:
            raise NotHereError(str(error)) from error
        yield Prism(stream, beam_value(options, "job_endpoint") or "", stack.enter_context(worker_pool()))


def kill_workers(stream: Stream, times: int) -> None:
    """The worker is killed at any moment, and the next job has other shards.

    Every other time the next one begins before, so that the worker that is killed is one that is being fenced.
    """
    with _prism(stream) as prism:
        stream.fill(stream.planned)
        stream.throttle(1 / (times + 1))
        job = prism.start()
        for time_left in range(times, 0, -1):
            in_mid_stream(stream, time_left, job)
            following = None
            if time_left % 2:
                job.wait_for_worker()
                following = prism.start()
                stream.throttle(1 / (2 * time_left + 1))
                following.wait_for_worker()
                time.sleep(stream.rng.uniform(0, BOTH_S))
            with stream.fault(following):
                job.kill()
                stream.throttle(1 / time_left)
                job = following or prism.start()
        stream.stub.faults.clear()
        job.done()
