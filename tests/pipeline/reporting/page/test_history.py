"""The points of the page's charts, and the versions that answered."""

from __future__ import annotations

import pytest

from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.lag import Lag
from pipeline.reporting.page.history import LATENCY_S, POINTS, History


def test_a_point_is_of_the_last_seconds() -> None:
    worker, now = WorkerStats(), 100.0
    lag: Lag | None = None
    history = History(lambda: Totals(worker.rows), lambda: lag, lambda: now, lambda: 1000 + now)
    worker.committed(50, {}, [(0.01, 50)])
    worker.requesting(3, 8)
    lag, now = Lag({("in", 0): 7}), 102.0
    history.add()
    [point] = history.points
    assert (point.at, point.rate, point.in_flight, point.lag) == (1102.0, 25.0, 3, 7)
    assert point.p50_ms == pytest.approx(10, rel=0.06)
    lag, now = None, now + 2 * LATENCY_S
    history.add()
    now += 2 * LATENCY_S
    history.add()
    idle = history.points[-1]
    assert (idle.rate, idle.p50_ms, idle.p99_ms, idle.lag) == (0.0, None, None, None)


def test_a_change_of_the_version_is_kept_once() -> None:
    worker, now = WorkerStats(), 0.0
    history = History(lambda: Totals(worker.rows), clock=lambda: now, day_clock=lambda: now)
    history.add()
    for step, version in enumerate(("1", "1", "2")):
        now = step + 1.0
        worker.answered(1, 0.01, version)
        history.add()
    assert history.changes == [(1.0, ("1",)), (3.0, ("2",))]


def test_it_has_a_bound() -> None:
    now = 0.0
    worker = WorkerStats()
    history = History(lambda: Totals(worker.rows), clock=lambda: now, day_clock=lambda: now)
    for step in range(POINTS + 5):
        now = float(step)
        history.add()
    assert len(history.points) == POINTS
    assert history.points[0].at == 5.0
