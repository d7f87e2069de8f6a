"""What the probes of ``--metrics_port`` answer: ``/healthz`` for liveness, ``/readyz`` for readiness."""

from __future__ import annotations

from typing import Any

from pipeline.process.stats import Totals

STUCK_S = 120.0
"""A worker that has not polled Kafka for so long is taken for stuck: far longer than a bundle or its commit takes."""


def unhealthy(rows: Any, now: float) -> str | None:
    """Returns a problem that a restart may cure, for a liveness probe: a worker has not started to read, or is stuck.

    A worker keeps polling Kafka while no records arrive, while the broker is down, and while it waits for the model server
    (``on_unavailable=hold``). A restart helps with none of these, so they do not count.

    Args:
        rows: The workers'.
        now: Seconds on the monotonic clock: a wall clock that is set makes nobody stuck.
    """
    for worker, polled_at in enumerate(rows["polled_at"]):
        if not polled_at:
            return f"worker {worker} has not asked Kafka for records yet"
        if now - polled_at > STUCK_S:
            return f"worker {worker} has not asked Kafka for records for {now - polled_at:.0f} s"
    return None


def not_ready(rows: Any) -> str | None:
    """Returns what the workers wait for instead of answering records, for a readiness probe or an alert."""
    holding = Totals(rows).holding
    return f"waiting for {holding}" if holding else None
