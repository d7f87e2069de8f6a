"""The supervisor of ``--workers N``: starts the worker processes, restarts those that die, and drains all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_FENCED, EXIT_WRONG, Order
from pipeline.process.relay import Relay
from transforms.child_process import module_command, module_environ
from transforms.errors import ScoringError

log = logging.getLogger("pipeline")

CHECK_S = 0.1
QUICK_DEATHS = 5
QUICK_S = 30.0
"""A worker that dies this many times in a row, each time within this many seconds of its start and without having answered a
record, is not restarted: what ends it is the same each time. One that gets on is started again, however often it dies."""


class WorkerFailedError(ScoringError):
    """A worker died too often to be restarted."""


@dataclasses.dataclass(slots=True)
class _Worker:
    order: Order
    process: subprocess.Popen[bytes]
    started_at: float
    quick_deaths: int = 0
    vain_starts: int = 0
    answered_before: int = 0
    start_at: float | None = None
    dismissed: bool = False  # it was waiting for its restart when the drain began


class Workers:
    """Runs one process for each order until all have ended.

    Args:
        orders: The order of each worker.
        start: Starts the process of an order; see ``start_worker``.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
        answered: Takes a worker's index, and returns how many records it has answered and committed so far, with all the
            processes that it has had.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        start: Callable[[Order], subprocess.Popen[bytes]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        answered: Callable[[int], int] = lambda _: 0,
    ):
        self._answered = answered
        self._start, self._clock, self._sleep = start, clock, sleep
        self._workers = [_Worker(order, self._start(order), clock()) for order in orders]
        self._draining = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers if worker.process.poll() is None]

    def drain(self) -> None:
        """Sends every worker the signal to drain."""
        self._draining = True
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.terminate()

    def wait(self, on_event: Callable[[str], None]) -> int:
        """Waits until all workers have ended. Restarts workers that die.

        Args:
            on_event: Called with messages for the user.

        Returns:
            The exit status for the whole job.
        """
        while True:
            status = self._check(on_event)
            if status is not None:
                return status
            self._sleep(CHECK_S)

    def _check(self, on_event: Callable[[str], None]) -> int | None:
        running = 0
        for worker in self._workers:
            code = worker.process.poll()
            if code is None:
                running += 1
            elif worker.start_at is not None:
                running += 1
                if self._draining:
                    worker.start_at, worker.dismissed = None, True
                elif self._clock() >= worker.start_at:
                    worker.process, worker.started_at, worker.start_at = self._start(worker.order), self._clock(), None
            elif code != EXIT_DONE and not self._draining:
                if code in (EXIT_FENCED, EXIT_WRONG):
                    self._end_all()
                    return EXIT_WRONG if code == EXIT_WRONG else EXIT_FAILED
                self._plan_restart(worker, code, on_event)
                running += 1
        if running:
            return None
        codes = [worker.process.poll() for worker in self._workers if not worker.dismissed]
        # SIGTERM ends a worker that has not installed its signal handler yet. It has read nothing, so this is no failure.
        return EXIT_DONE if all(code in (EXIT_DONE, -signal.SIGTERM) for code in codes) else EXIT_FAILED

    def _plan_restart(self, worker: _Worker, code: int, on_event: Callable[[str], None]) -> None:
        quick = self._clock() - worker.started_at < QUICK_S
        worker.quick_deaths = worker.quick_deaths + 1 if quick else 0
        answered = self._answered(worker.order.index)
        worker.vain_starts = worker.vain_starts + 1 if quick and answered == worker.answered_before else 0
        worker.answered_before = answered
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        if worker.vain_starts >= QUICK_DEATHS:
            self._end_all()
            raise WorkerFailedError(f"worker {worker.order.index} {how}, {QUICK_DEATHS} times in a row; see above")
        delay_s = min(10.0, 0.5 * 2.0**worker.quick_deaths) if worker.quick_deaths else 0.0
        on_event(f"worker {worker.order.index} {how}; started again, nothing is lost")
        worker.start_at = self._clock() + delay_s

    def _end_all(self) -> None:
        self.drain()
        for worker in self._workers:
            try:
                worker.process.wait(30)
            except subprocess.TimeoutExpired:
                worker.process.kill()


def start_worker(order: Order, relay: Relay) -> subprocess.Popen[bytes]:
    """Starts the process of an order.

    Args:
        order: The order, which the process takes from its standard input.
        relay: Follows what it writes to standard error.
    """
    process = subprocess.Popen(
        module_command("pipeline.worker"),
        env=module_environ(),
        stdin=subprocess.PIPE,
        stderr=relay.stderr,
        start_new_session=True,  # Ctrl-C must reach the parent only, which drains us; a second signal would end us at once
    )
    relay.follow(process)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # it died at once: ``wait`` finds its exit status
        stdin.write(pickle.dumps(order))  # by a pipe, not a file: the order holds secrets
    return process
