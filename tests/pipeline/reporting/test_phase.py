"""What a job is doing, in words, from its first moment on."""

from __future__ import annotations

from pathlib import Path

from pipeline.process.stats import Totals, WorkerStats, open_rows
from pipeline.reporting.phase import phase


def test_from_the_start_to_the_first_record(tmp_path: Path) -> None:
    rows = open_rows(tmp_path / "stats", 2)

    def now() -> str:
        return phase(rows, Totals(rows))

    assert now() == "waiting for 2 of 2 workers to start"
    first = WorkerStats(tmp_path / "stats", 0, 2)
    assert now() == "waiting for 1 of 2 workers to start"
    WorkerStats(tmp_path / "stats", 1, 2)
    assert now() == "connecting to Kafka"
    first.polled()
    assert now() == "joining the consumer group"
    first.assigned(["in/0"])
    assert now() == "reading 1 partition; no record has been answered yet"
    first.committed(1, {}, [(0.001, 1)])
    assert now() == "scoring 1 partition"
    first.holding("the model server: connection refused")
    assert now() == "waiting for the model server: connection refused"
    first.holding(None)
    first.assigned([])
    assert now().startswith("no partition is assigned to it")


def test_what_reads_by_java_is_scoring_once_it_has_answered() -> None:
    """Its workers know neither partitions nor polls."""
    worker = WorkerStats()
    worker.committed(1, {}, [(0.001, 1)])
    assert phase(worker.rows, Totals(worker.rows)) == "scoring"


def test_one_process_is_its_own_worker() -> None:
    rows = open_rows(None, 1)
    assert phase(rows, Totals(rows)) == "starting"
