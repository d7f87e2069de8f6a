"""Prepares a worker process on Flink before it reads, and reports its events as Beam metrics."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, Sequence

from apache_beam.metrics import Metrics

from pipeline.worker import SWITCH_INTERVAL_S, spare_the_collector
from transforms.errors import ScoringError
from transforms.observe import Observer, set_observer

NAMESPACE = "scoring"

NOT_REPORTED = {"polled": "it is for /healthz, and a worker on Flink serves none"}
"""The events that ``WorkerStats`` counts and ``BeamMetrics`` leaves out, and why."""

_lock = threading.Lock()
_prepared = False


class BeamMetrics(Observer):
    """The observer that reports Beam metrics, which Flink collects: counters, and a distribution of latencies in ms.

    The counters are those of ``pipeline.reporting.collector``, by the same names; a test compares them.
    """

    def committed(
        self, predictions: int, dead_letters: Mapping[str, int], latencies_ms: Sequence[tuple[float, int]]
    ) -> None:
        """As ``Observer.committed``."""
        _count("bundles", 1)
        _count("predictions", predictions)
        for name, count in dead_letters.items():
            _count("dead_letters", count)
            _count(f"dead_letters_{name}", count)
        for latency_ms, _ in latencies_ms:
            Metrics.distribution(NAMESPACE, "latency_ms").update(round(latency_ms))

    def answered(self, rows: int) -> None:
        """As ``Observer.answered``."""
        _count("requests", 1)
        _count("request_rows", rows)

    def retried(self) -> None:
        """As ``Observer.retried``."""
        _count("retries", 1)

    def rolled_back(self, reason: str) -> None:
        """As ``Observer.rolled_back``."""
        _count("rollbacks", 1)
        logging.getLogger("pipeline").warning("a bundle was rolled back: %s", reason)

    def left_unanswered(self, records: int) -> None:
        """As ``Observer.left_unanswered``."""
        logging.getLogger("pipeline").warning("%d records that were read are left for the next run", records)

    def assigned(self, partitions: Sequence[str]) -> None:
        """As ``Observer.assigned``."""
        logging.getLogger("pipeline").warning("reading %s", ", ".join(partitions) or "nothing")

    def holding(self, reason: str | None) -> None:
        """As ``Observer.holding``."""
        logging.getLogger("pipeline").warning("waiting for %s", reason) if reason else None

    def failed(self, error: ScoringError) -> None:
        """As ``Observer.failed``."""
        logging.getLogger("pipeline").error("%s", error)


def prepare() -> None:
    """Prepares this process; does nothing the second time."""
    global _prepared
    with _lock:
        if _prepared:
            return
        _prepared = True
        set_observer(BeamMetrics())
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        spare_the_collector()


def _count(name: str, by: int) -> None:
    Metrics.counter(NAMESPACE, name).inc(by)
