"""The workers' counters as Prometheus metrics, summed over all workers at the moment of a scrape.

Names and units follow Prometheus' rules, which ``promtool check metrics`` checks. Every label has a small closed set of
values, or one for each partition. A counter whose labels are known begins at 0, so that its first increase is seen.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.process.histograms import prometheus_buckets
from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag
from pipeline.telemetry.gen_ai import GenAi, families
from transforms.dead_letter_classes import DeadLetterClass


class StatsCollector(Collector):
    """Reads the workers' rows whenever it is scraped. Every counter only grows, across restarts of workers too.

    Args:
        rows: The rows, shape ``[workers]``: see ``pipeline.process.stats``.
        lag: Returns the lag; ``None`` while it is not known.
        model: The model's name.
        gen_ai: The labels of a language model's metrics; ``None`` if it is none.
    """

    def __init__(
        self, rows: Any, lag: Callable[[], Lag | None] = lambda: None, model: str = "", gen_ai: GenAi | None = None
    ):
        self._rows, self._lag, self._model, self._gen_ai = rows, lag, model, gen_ai
        self._began_at = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics as of now."""
        totals = Totals(self._rows)
        yield from _counters(totals)
        for histogram, (buckets, total) in totals.histograms.items():
            yield HistogramMetricFamily(
                f"scoring_{histogram.name}",
                histogram.help,
                buckets=prometheus_buckets(buckets),
                sum_value=total,
            )
        if self._gen_ai is not None:
            yield from families(totals, self._gen_ai)
        yield _gauge("partitions", "Partitions read now.", totals.partitions)
        yield _gauge("requests_in_flight", "Requests sent to the model server and not answered yet.", totals.in_flight)
        yield _gauge("requests_in_flight_limit", "Most requests in flight, as set or as adapted.", totals.in_flight_limit)
        yield _gauge(
            "holding", "1 while it waits for the model server, the schema registry or Kafka.", int(bool(totals.holding))
        )
        since = [((), totals.holding_since)] if totals.holding_since is not None else []
        yield _gauge("holding_since_timestamp_seconds", "Since when it waits, while it does. Unix time.", since)
        known = self._lag()
        yield _gauge(
            "lag_records",
            "Records after the group's committed offsets, of the whole group: the same in each of its processes.",
            [((topic, str(number)), n) for (topic, number), n in sorted(known.partitions.items())] if known else [],
            ("topic", "partition"),
        )
        yield _gauge(
            "model_info",
            "Always 1: the model, and each version that answered a worker last.",
            [((self._model, version), 1) for version in totals.versions],
            ("model", "version"),
        )
        yield _gauge("build_info", "Always 1: what runs here.", [(tuple(_build().values()), 1)], tuple(_build()))
        yield _gauge("start_timestamp_seconds", "When this process began to serve metrics. Unix time.", self._began_at)


def registry_of(
    rows: Any, lag: Callable[[], Lag | None] = lambda: None, model: str = "", gen_ai: GenAi | None = None
) -> CollectorRegistry:
    """Returns a registry of these metrics alone: the library's global one has others of the process."""
    registry = CollectorRegistry()
    registry.register(StatsCollector(rows, lag, model, gen_ai))
    return registry


def _counters(totals: Totals) -> Iterator[Metric]:
    yield _counter("records", "Records that are done: predictions and dead letters.", totals.records)
    yield _counter("predictions", "Records answered by the model.", totals.predictions)
    kinds = {(stage, known.error_class): 0 for known in DeadLetterClass for stage in known.stages} | totals.kinds
    dead_letters = sorted(kinds.items())
    yield _counter(
        "dead_letters", "Records without a prediction, by stage and error class.", dead_letters, ("stage", "class")
    )
    yield _counter("bundles", "Bundles committed.", totals.bundles)
    yield _counter("requests", "Requests that the model server answered.", totals.batches)
    failures = _labelled(totals.failures)
    yield _counter("request_failures", "Requests that failed or were refused, by kind.", failures, ("class",))
    yield _counter("retries", "Requests sent again.", totals.retries)
    causes = _labelled({cause.value: count for cause, count in totals.rollbacks_by_cause.items()})
    yield _counter("rollbacks", "Bundles not committed, and read again, by reason.", causes, ("reason",))
    yield _counter("worker_restarts", "Worker processes that ended and were started again.", totals.restarts)
    waited = "Seconds that requests waited for --rate_limit and --token_limit, all requests together."
    yield _counter("rate_limit_wait_seconds", waited, totals.paced_s)
    yield _counter("spans_lost", "Spans of traces that could not be exported.", totals.spans_lost)


_Samples = float | Iterable[tuple[tuple[str, ...], float]]


def _labelled(counts: Mapping[str, int]) -> list[tuple[tuple[str, ...], float]]:
    return [((name,), count) for name, count in counts.items()]


def _counter(name: str, text: str, samples: _Samples, labels: tuple[str, ...] = ()) -> Metric:
    return _filled(CounterMetricFamily(f"scoring_{name}", text, labels=labels), samples)


def _gauge(name: str, text: str, samples: _Samples, labels: tuple[str, ...] = ()) -> Metric:
    return _filled(GaugeMetricFamily(f"scoring_{name}", text, labels=labels), samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: _Samples) -> Metric:
    for labels, value in [((), samples)] if isinstance(samples, (int, float)) else samples:
        family.add_metric(labels, value)
    return family


@functools.cache
def _build() -> dict[str, str]:
    """The labels of ``build_info``: what a report of a problem should name."""
    try:
        version = importlib.metadata.version("kafka-model-scoring")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        version = "unknown"
    return {"version": version, "python": platform.python_version()}
