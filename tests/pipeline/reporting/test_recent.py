"""Speed and latency of the last seconds."""

from __future__ import annotations

from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.recent import LATENCY_S, Recent


def test_nothing_is_known_of_a_job_that_has_done_nothing() -> None:
    recent = Recent()
    assert (recent.rate, recent.latency_ms(0.5)) == (0.0, 0.0)


def test_the_speed_is_an_average_of_seconds() -> None:
    """A bundle of 1,000 records in the last quarter of a second is no 4,000 a second."""
    worker, recent = WorkerStats(), Recent()
    for quarter in range(40):
        if quarter % 10 == 0:
            worker.committed(1000, {}, [(0.001, 1000)])
        recent.add(quarter / 4, Totals(worker.rows))
    assert 300 <= recent.rate <= 500


def test_a_latency_of_long_ago_is_forgotten() -> None:
    worker, recent = WorkerStats(), Recent()
    recent.add(0.0, Totals(worker.rows))
    worker.committed(100, {}, [(5.0, 100)])
    recent.add(1.0, Totals(worker.rows))
    assert recent.latency_ms(0.5) > 4000
    worker.committed(10, {}, [(0.002, 10)])
    recent.add(1.5 + LATENCY_S, Totals(worker.rows))
    assert 1.8 < recent.latency_ms(0.5) < 2.2
    recent.add(3.0 + 2 * LATENCY_S, Totals(worker.rows))
    assert recent.latency_ms(0.5) == 0.0
