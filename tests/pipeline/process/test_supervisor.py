"""Worker processes under one parent: dead ones are started again, hopeless ones end the job, a drain ends all of them.

The processes are real ones, of a Python that does nothing but what the test says; the clock is moved by sleeping.
"""

from __future__ import annotations

import dataclasses
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_FENCED, EXIT_WRONG, Order
from pipeline.process.relay import Relay
from pipeline.process.supervisor import QUICK_DEATHS, QUICK_S, WorkerFailedError, Workers, start_worker

WAITS = (
    "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); print('ready', flush=True); signal.pause()"
)
FAILS_ON_DRAIN = WAITS.replace("_exit(0)", "_exit(1)")


def exits(code: int) -> str:
    return f"import os; os._exit({code})"


class Fleet:
    """Starts, for each worker, one script after another; the last one again and again."""

    def __init__(self, *scripts: list[str]):
        self.scripts = [list(of) for of in scripts]
        self.started: list[tuple[int, float]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.events: list[str] = []
        self.now = 0.0
        self.on_sleep: Callable[[], None] = lambda: None
        orders = [Order(None, "DirectRunner", (), Path("stats"), index, len(scripts)) for index in range(len(scripts))]  # type: ignore[arg-type]  # no job is run
        self.answered = 0
        self.workers = Workers(orders, self.start, lambda: self.now, self.sleep, lambda _: self.answered)

    def start(self, order: Order) -> subprocess.Popen[bytes]:
        scripts = self.scripts[order.index]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        self.started.append((order.index, self.now))
        process = subprocess.Popen([sys.executable, "-S", "-E", "-c", script], stdout=subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout is not None
        if "print" in script:
            assert process.stdout.readline() == b"ready\n"
        else:
            process.wait(20)
        return process

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()

    def wait(self) -> int:
        return self.workers.wait(self.events.append)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def fleet() -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(*scripts: list[str]) -> Fleet:
        fleets.append(Fleet(*scripts))
        return fleets[-1]

    yield make
    for one in fleets:
        one.close()


def test_all_that_end_well_are_the_end(fleet: Callable[..., Fleet]) -> None:
    job = fleet([exits(EXIT_DONE)], [exits(EXIT_DONE)])
    assert job.wait() == EXIT_DONE
    assert job.events == []
    assert len(job.started) == 2


@pytest.mark.parametrize(
    ("script", "how"), [(exits(1), "ended with status 1"), ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9")]
)
def test_a_dead_worker_is_started_again(fleet: Callable[..., Fleet], script: str, how: str) -> None:
    job = fleet([exits(EXIT_DONE)], [script, exits(EXIT_DONE)])
    assert job.wait() == EXIT_DONE
    assert job.events == [f"worker 1 {how}; started again, nothing is lost"]
    assert [index for index, _ in job.started] == [0, 1, 1]


def test_a_worker_that_dies_again_and_again_is_started_ever_later_and_then_the_job_fails(
    fleet: Callable[..., Fleet],
) -> None:
    job = fleet([exits(1)], [WAITS])
    with pytest.raises(WorkerFailedError, match=f"worker 0 ended with status 1, {QUICK_DEATHS} times in a row"):
        job.wait()
    times = [at for index, at in job.started if index == 0]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == QUICK_DEATHS
    assert waits == sorted(waits)
    assert waits == pytest.approx([1, 2, 4, 8], abs=0.3)
    assert job.processes[1].poll() == 0, "the others are drained"


def test_deaths_far_apart_are_each_forgiven(fleet: Callable[..., Fleet]) -> None:
    job = fleet([WAITS])
    deaths = 0

    def kill_now_and_then() -> None:
        nonlocal deaths
        job.now += QUICK_S
        process = job.processes[-1]
        if process.poll() is None:
            deaths += 1
            if deaths > 3 * QUICK_DEATHS:
                job.workers.drain()
            else:
                process.kill()
            process.wait(20)

    job.on_sleep = kill_now_and_then
    assert job.wait() == EXIT_DONE
    assert len(job.events) == 3 * QUICK_DEATHS


def test_a_worker_that_gets_on_is_started_again_however_often_it_is_killed(fleet: Callable[..., Fleet]) -> None:
    """It answers something each time before it is killed; once it does not any more, it is given up as any other."""
    job = fleet([exits(1)], [WAITS])
    lives = 3 * QUICK_DEATHS

    def gets_on() -> None:
        job.answered = min(lives, len([index for index, _ in job.started if index == 0]))

    job.on_sleep = gets_on
    with pytest.raises(WorkerFailedError, match=f"{QUICK_DEATHS} times in a row"):
        job.wait()
    assert lives + QUICK_DEATHS - 1 <= len([index for index, _ in job.started if index == 0]) <= lives + QUICK_DEATHS


def test_a_fenced_worker_is_not_started_again_and_ends_the_job(fleet: Callable[..., Fleet]) -> None:
    """Somebody else has its place: starting it again would fence that one, and so on for ever."""
    job = fleet([exits(EXIT_FENCED)], [WAITS])
    assert job.wait() == EXIT_FAILED
    assert len(job.started) == 2
    assert job.processes[1].poll() == 0


def test_a_worker_without_a_right_is_not_started_again_and_ends_the_job(fleet: Callable[..., Fleet]) -> None:
    """No waiting cures it, and the exit status says so."""
    job = fleet([exits(EXIT_WRONG)], [WAITS])
    assert job.wait() == EXIT_WRONG
    assert len(job.started) == 2


def test_a_drain_reaches_all_and_is_a_good_end(fleet: Callable[..., Fleet]) -> None:
    job = fleet([WAITS], [WAITS])
    assert job.workers.pids == [process.pid for process in job.processes]
    job.on_sleep = job.workers.drain
    assert job.wait() == EXIT_DONE
    assert job.workers.pids == []
    assert [process.poll() for process in job.processes] == [0, 0]


def test_nobody_is_started_again_during_a_drain(fleet: Callable[..., Fleet]) -> None:
    job = fleet([exits(1)], [WAITS])
    job.on_sleep = job.workers.drain
    assert job.wait() == EXIT_DONE, "what it had not committed is read next time"
    assert [index for index, _ in job.started] == [0, 1]


def test_a_worker_that_fails_while_it_drains_is_told_by_the_status(fleet: Callable[..., Fleet]) -> None:
    job = fleet([WAITS], [FAILS_ON_DRAIN])
    job.on_sleep = job.workers.drain
    assert job.wait() == EXIT_FAILED


def test_a_worker_that_was_not_up_yet_when_the_drain_came_has_not_failed(fleet: Callable[..., Fleet]) -> None:
    """It does not listen for signals yet, and the signal ends it."""
    job = fleet(["print('ready', flush=True); import signal; signal.pause()"])
    job.on_sleep = job.workers.drain
    assert job.wait() == EXIT_DONE
    assert job.processes[0].poll() == -signal.SIGTERM


def test_the_real_start_hands_the_order_over_a_pipe(tmp_path: Path) -> None:
    """Not by a file or the command line, where others could read its secrets. The order here has no job, so it fails."""
    order = Order(None, "DirectRunner", (), tmp_path / "stats", 0, 1)  # type: ignore[arg-type]  # that is the mistake
    said: list[str] = []
    with Relay(said.append) as relay:
        process = start_worker(dataclasses.replace(order, beam_args=("secret",)), relay)
        arguments: Any = process.args
        assert "secret" not in " ".join(arguments)
        assert process.wait(60) == EXIT_FAILED
    assert any("the pipeline failed" in line for line in said), "what it writes to standard error is said"
