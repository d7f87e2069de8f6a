"""The budget of ``--max_records``: of one process, and shared by several through a file."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from transforms.kafka.stop import LocalBudget, SharedBudget


@pytest.fixture(params=["local", "shared"])
def budget(request: pytest.FixtureRequest, tmp_path: Path) -> LocalBudget | SharedBudget:
    return LocalBudget(100) if request.param == "local" else SharedBudget(tmp_path / "budget", 100, 0, 1)


def test_the_arithmetic_of_a_budget(budget: LocalBudget | SharedBudget) -> None:
    assert budget.reserve(60) == 60
    assert budget.reserve(60) == 40
    assert budget.reserve(60) == 0
    budget.release(30)
    assert not budget.spent()
    assert budget.reserve(100) == 70
    assert not budget.spent(), "reserved is not committed"
    budget.release(50, kept=15)
    assert not budget.spent()
    assert budget.reserve(100) == 5, "what is kept is not free"
    budget.release(20)
    assert budget.spent()
    assert budget.reserve(1) == 0


def test_a_worker_with_nothing_to_read_lets_those_that_wait_go_first(tmp_path: Path) -> None:
    """Else it reserves the rest again whenever it gives it back, and the one whose partitions have it gets no record."""
    idle, other = SharedBudget(tmp_path / "budget", 100, 0, 2), SharedBudget(tmp_path / "budget", 100, 1)
    assert idle.reserve(2048) == 100
    assert other.reserve(2048) == 0
    idle.release(0)
    assert idle.reserve(2048) == 0
    assert other.reserve(2048) == 100
    assert idle.reserve(2048) == 0
    other.release(0)
    assert other.reserve(2048) == 0, "it had nothing to read either"
    assert idle.reserve(2048) == 100
    idle.release(100)
    assert idle.spent()
    assert other.spent()


def test_it_does_not_wait_for_one_that_is_gone_or_for_nobody(tmp_path: Path) -> None:
    idle, gone = SharedBudget(tmp_path / "budget", 100, 0, 2), SharedBudget(tmp_path / "budget", 100, 1)
    for _ in range(3):
        assert idle.reserve(2048) == 100, "nobody waits"
        idle.release(0)
    assert idle.reserve(2048) == 100
    assert gone.reserve(1) == 0
    idle.release(0)
    granted = [idle.reserve(2048) for _ in range(10)]
    assert 100 in granted
    idle.release(0)
    SharedBudget(tmp_path / "budget", 100, 1)  # started again
    assert idle.reserve(2048) == 100


def test_workers_never_take_more_than_the_budget_together(tmp_path: Path) -> None:
    """Three processes, some of their bundles rolled back: what they commit sums up to the budget exactly."""
    path = tmp_path / "budget"
    SharedBudget(path, 5_000, 0, 3)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        used = pool.starmap(_use_up, [(str(path), worker) for worker in range(3)])
    assert sum(used) == 5_000
    assert SharedBudget(path, 5_000, 0).spent()


def _use_up(path: str, worker: int) -> int:
    budget, used, bundle = SharedBudget(path, 5_000, worker), 0, 0
    while not budget.spent():
        granted, bundle = budget.reserve(17), bundle + 1
        committed = 0 if bundle % 3 == 0 else granted
        budget.release(committed)
        used += committed
    return used


def test_a_budget_is_changed_under_the_files_lock(tmp_path: Path) -> None:
    """Reading and writing it are two steps; whoever comes between would grant the same records again."""
    path = tmp_path / "budget"
    budget = SharedBudget(path, 100, 0, 2)
    for change in (lambda: budget.reserve(1), lambda: budget.release(1), budget.spent):
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            thread = threading.Thread(target=change)
            thread.start()
            thread.join(0.05)
            assert thread.is_alive()
        thread.join(10)
        assert not thread.is_alive()


def test_a_killed_workers_reservation_is_freed_by_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "budget"
    SharedBudget(path, 100, 0, 2)
    pid = os.fork()
    if pid == 0:
        victim = SharedBudget(path, 100, 1)
        victim.reserve(30)
        victim.release(30)
        victim.reserve(70)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    other = SharedBudget(path, 100, 0)
    assert other.reserve(100) == 0
    SharedBudget(path, 100, 1)
    assert other.reserve(100) == 70, "what it had committed stays counted"
