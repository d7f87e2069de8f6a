"""Moments of jobs, as the tests of the status want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.lag import Lag
from pipeline.reporting.moment import Moment, Predictions
from pipeline.reporting.phase import phase
from pipeline.reporting.recent import Recent
from transforms.dead_letter import dead_letter
from transforms.types import Failure, KafkaRecord

TWO_KINDS = {("decode", "Tombstone"): 1, ("predict", "Rejected"): 1}


def worker(records: int = 10, holding: str | None = None, kinds: Mapping[tuple[str, str], int] | None = None) -> WorkerStats:
    """A worker that has answered so many records, two of them (or as ``kinds`` says) by dead letters."""
    stats, kinds = WorkerStats(), TWO_KINDS if kinds is None else kinds
    if records:
        stats.polled()
        stats.assigned(["in/0", "in/1"])
        stats.committed(records - sum(kinds.values()), kinds, [(0.004, records)])
        stats.answered(records, 0.02, "3")
        stats.requesting(2, 16)
    stats.holding(holding)
    return stats


def wrote_dead_letter(stats: WorkerStats, stage: str, name: str, message: str) -> None:
    """A bundle with one dead letter was committed."""
    record = KafkaRecord("in", 0, 5, 5, None, b"secret", [])
    stats.committed(0, {(stage, name): 1}, [(0.004, 1)])
    stats.written([dead_letter(record, Failure(stage, name, message), "out.dead-letter")])


def moment(
    stats: WorkerStats | None = None, predictions: Predictions | None = None, lag: Lag | None = None, rows: Any = None
) -> Moment:
    """What is shown of one worker, or of the workers of these rows, as if all had come in ten seconds."""
    rows = rows if stats is None else stats.rows
    totals, recent = Totals(rows), Recent()
    recent.add(0.0, Totals(WorkerStats().rows))
    recent.add(10.0, totals)
    return Moment(totals, recent, phase(rows, totals), predictions, lag)


class Latest:
    """The latest predictions: as many as the demo shows."""

    latest = (*((f"digit-{number:04}", "7", "right") for number in range(7)), ("k2", "8", "wrong, it is 3"))

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Of none."""
        return {}
