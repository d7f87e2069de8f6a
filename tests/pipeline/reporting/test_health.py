"""What a probe is told: a restart may cure a worker that is stuck, not a model server that is down."""

from __future__ import annotations

from pathlib import Path

from pipeline.process.stats import WorkerStats
from pipeline.reporting.health import STUCK_S, unhealthy


def test_a_worker_that_has_not_started_to_read_is_not_healthy() -> None:
    """A startup probe waits for it."""
    assert unhealthy(WorkerStats().rows, 0) == "worker 0 has not asked Kafka for records yet"


def test_a_worker_that_reads_is_healthy_and_one_that_is_stuck_is_not(tmp_path: Path) -> None:
    first, second = (WorkerStats(tmp_path / "stats", worker, 2) for worker in (0, 1))
    first.polled()
    second.polled()
    rows = first.rows
    rows["polled_at"] = [1000, 1060]
    assert unhealthy(rows, 1000 + STUCK_S) is None
    assert unhealthy(rows, 1001 + STUCK_S) == f"worker 0 has not asked Kafka for records for {STUCK_S + 1:.0f} s"
    rows["polled_at"][0] = 1060
    assert unhealthy(rows, 1001 + STUCK_S) is None
