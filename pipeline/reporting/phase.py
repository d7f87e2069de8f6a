"""What a job is doing now, in words: above all before its first record, when every counter is 0."""

from __future__ import annotations

from typing import Any

from pipeline.process.stats import Totals
from transforms.printable import counted


def phase(rows: Any, totals: Totals) -> str:
    """Returns it without a full stop, such as ``joining the consumer group``.

    Args:
        rows: The workers' rows: see ``pipeline.process.stats``.
        totals: Their sum.
    """
    if totals.holding:
        return f"waiting for {totals.holding}"
    workers = len(rows)
    starting = int((rows["starts"] == 0).sum())
    if starting:
        return "starting" if workers == 1 else f"waiting for {starting} of {workers} workers to start"
    if not rows["polled_at"].any():
        return "scoring" if totals.records else "connecting to Kafka"  # Beam's Java transforms do not say when they poll
    if not totals.records:
        if not totals.partitions:
            return "joining the consumer group"
        return f"reading {counted(totals.partitions, 'partition')}; no record has been answered yet"
    if not totals.partitions:
        return "no partition is assigned to it; others of the group have them, or the group is rebalancing"
    return f"scoring {counted(totals.partitions, 'partition')}"
