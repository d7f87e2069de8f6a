"""The workers' counters as Prometheus metrics, summed over all workers at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag

QUANTILES = (0.5, 0.9, 0.99)


class StatsCollector(Collector):
    """Reads the workers' rows whenever it is scraped. Every counter only grows, across restarts of workers too.

    Args:
        rows: The rows, shape ``[workers]``: see ``pipeline.process.stats``.
        lag: Returns the lag; ``None`` while it is not known.
    """

    def __init__(self, rows: Any, lag: Callable[[], Lag | None] = lambda: None):
        self._rows, self._lag = rows, lag

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics as of now."""
        totals = Totals(self._rows)
        yield _counter("predictions", "Records answered by the model.", totals.predictions)
        dead_letters = CounterMetricFamily(
            "scoring_dead_letters", "Records without a prediction, by error class.", labels=["class"]
        )
        for error_class, count in sorted(totals.reasons.items()):
            dead_letters.add_metric([error_class], count)
        yield dead_letters
        yield _counter("bundles", "Bundles committed.", totals.bundles)
        yield _counter("requests", "Requests that the model server answered.", totals.batches)
        yield _counter("request_rows", "Records in those requests.", totals.batched_rows)
        yield _counter("retries", "Requests sent again.", totals.retries)
        yield _counter("rollbacks", "Bundles not committed, and read again.", totals.rollbacks)
        yield _gauge("partitions", "Partitions read now.", totals.partitions)
        yield _gauge(
            "holding", "1 while it waits for the model server, the schema registry or Kafka.", int(bool(totals.holding))
        )
        latency = GaugeMetricFamily(
            "scoring_latency_ms",
            "Milliseconds from a record's being read to its answer's commit, since the start.",
            labels=["quantile"],
        )
        for quantile in QUANTILES:
            latency.add_metric([str(quantile)], totals.latency_ms(quantile))
        yield latency
        lag = GaugeMetricFamily(
            "scoring_lag_records",
            "Records after the group's committed offsets, of the whole group: the same in each of its processes.",
            labels=["topic", "partition"],
        )
        known = self._lag()
        for (topic, partition), count in sorted(known.partitions.items()) if known is not None else ():
            lag.add_metric([topic, str(partition)], count)
        yield lag


def registry_of(rows: Any, lag: Callable[[], Lag | None] = lambda: None) -> CollectorRegistry:
    """Returns a registry of these metrics alone: the library's global one has others of the process."""
    registry = CollectorRegistry()
    registry.register(StatsCollector(rows, lag))
    return registry


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"scoring_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"scoring_{name}", text, value=value)
