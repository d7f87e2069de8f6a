"""Prepares a worker process on Flink or Dataflow before it reads, and reports its events as Beam metrics."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence

from apache_beam.metrics import Metrics

from pipeline.process.garbage import spare_the_collector
from pipeline.process.switching import switch_often
from pipeline.telemetry.settings import OFF, Telemetry
from pipeline.telemetry.tracing import traced
from transforms.errors import ModelError, ScoringError
from transforms.observe import Ages, DeadLetterKind, Observer, RollbackCause, failure_kind, set_observer
from transforms.types import Tokens

NAMESPACE = "scoring"

NOT_REPORTED = {
    "written": "what an output says is no metric; it is for the page of --status_port, which Flink refuses",
    "polled": "it is for /healthz, and a worker on Flink serves none",
    "spans_lost": "the thread that exports spans is in no bundle, which a metric of Beam belongs to; the log has it",
    "requesting": "a gauge of Beam keeps the last value of any worker, which says nothing of all",
}
"""The events that ``WorkerStats`` counts and ``BeamMetrics`` leaves out, and why."""

_lock = threading.Lock()
_prepared = False


class BeamMetrics(Observer):
    """The observer that reports Beam metrics, which Flink collects: counters and distributions.

    The counters are those of ``pipeline.reporting.collector``, by the same names; a test compares them. Beam's distributions
    are of whole numbers, so the unit is in the name as in Beam's own. What ``RunInference`` reports, too, has its names.
    """

    def committed(
        self, predictions: int, dead_letters: Mapping[DeadLetterKind, int], latencies_s: Sequence[tuple[float, int]]
    ) -> None:
        """As ``Observer.committed``."""
        _count("bundles", 1)
        _count("records", predictions + sum(dead_letters.values()))
        _count("predictions", predictions)
        for (_, name), count in dead_letters.items():
            _count("dead_letters", count)
            _count(f"dead_letters_{name}", count)
        for latency_s, _ in latencies_s:
            _distribute("latency_milli_secs", latency_s * 1000)

    def committed_after(self, ages_s: Ages, transaction_s: float | None) -> None:
        """As ``Observer.committed_after``. Of the ages it reports the oldest: one call a record would be slow."""
        if len(ages_s):
            _distribute("end_to_end_latency_milli_secs", max(ages_s) * 1000)
        if transaction_s is not None:
            _distribute("transaction_duration_milli_secs", transaction_s * 1000)

    def answered(self, rows: int, took_s: float, version: str | None) -> None:
        """As ``Observer.answered``."""
        _count("requests", 1)
        _count("num_inferences", rows)
        _distribute("inference_request_batch_size", rows)
        _distribute("inference_batch_latency_micro_secs", took_s * 1e6)

    def counted_tokens(self, tokens: Tokens) -> None:
        """As ``Observer.counted_tokens``."""
        _count("input_tokens", tokens.prompt or 0)
        _count("output_tokens", tokens.completion or 0)

    def request_failed(self, error: ModelError) -> None:
        """As ``Observer.request_failed``."""
        _count("request_failures", 1)
        _count("failed_batches_counter", 1)
        _count(f"request_failures_{failure_kind(error)}", 1)

    def paced(self, waited_s: float) -> None:
        """As ``Observer.paced``."""
        _distribute("rate_limit_wait_milli_secs", waited_s * 1000)

    def retried(self) -> None:
        """As ``Observer.retried``."""
        _count("retries", 1)

    def rolled_back(self, reason: str, cause: RollbackCause) -> None:
        """As ``Observer.rolled_back``."""
        _count("rollbacks", 1)
        _count(f"rollbacks_{cause.value}", 1)
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


def prepare(telemetry: Telemetry = OFF) -> None:
    """Prepares this process; does nothing the second time.

    Args:
        telemetry: Whether to trace. The variables of the process that submitted the job count where this one has none.
    """
    global _prepared
    with _lock:
        if _prepared:
            return
        _prepared = True
        set_observer(BeamMetrics())
        for name, value in telemetry.variables:
            os.environ.setdefault(name, value)
        tracing = traced(telemetry.here(f"{telemetry.instance}-{socket.gethostname()}-{os.getpid()}"))
        tracing.__enter__()
        atexit.register(tracing.__exit__, None, None, None)
        switch_often()
        spare_the_collector()


def _count(name: str, by: int) -> None:
    Metrics.counter(NAMESPACE, name).inc(by)


def _distribute(name: str, value: float) -> None:
    Metrics.distribution(NAMESPACE, name).update(round(value))
