"""``pushed``: sends the metrics of ``/metrics`` to an OTLP endpoint, by OpenTelemetry's exporter, while a block runs.

The SDK's own instruments would count in this process alone. The counts of all workers are in their rows already, histograms
included. So their families (``pipeline.reporting.collector``) are written as OTLP's data points, by their names and labels.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.telemetry.losses import LastWords, LastWork, Losses, last_words
from pipeline.telemetry.settings import GRPC, METRICS, Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricExporter, MetricsData, NumberDataPoint
    from opentelemetry.sdk.resources import Resource
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample

INTERVAL_MS = 60_000
"""Milliseconds between two exports, unless ``OTEL_METRIC_EXPORT_INTERVAL`` says so; OpenTelemetry's default."""

LAST_S = 5.0
"""How long the last export may take at the end, in seconds."""


@contextlib.contextmanager
def pushed(telemetry: Telemetry, collector: Callable[[], Collector]) -> Iterator[None]:
    """Exports what ``collector()`` collects, if metrics are wanted: every interval, and at the end."""
    if not telemetry.metrics:
        yield
        return
    from pipeline.telemetry.tracing import resource_of

    interval_s = int(dict(telemetry.variables).get("OTEL_METRIC_EXPORT_INTERVAL") or INTERVAL_MS) / 1000
    with last_words() as words:
        push = Push(open_exporter(telemetry), collector(), resource_of(telemetry), words, telemetry.url(METRICS) or "")
        with push.every(interval_s):
            yield


class Push:
    """Sends the metrics of a collector.

    Args:
        exporter: Sends them.
        collector: Has them.
        resource: Who exports.
        words: What OpenTelemetry has logged last.
        where: The endpoint, for people.
    """

    def __init__(self, exporter: MetricExporter, collector: Collector, resource: Resource, words: LastWords, where: str):
        self._exporter, self._collector, self._resource, self._words = exporter, collector, resource, words
        self._began_ns = time.time_ns()
        self.losses = Losses("exports of metrics", where or "the OTLP endpoint")

    def once(self) -> None:
        """Sends them as they are now."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        data = metrics_data(list(self._collector.collect()), self._resource, self._began_ns, time.time_ns())
        try:
            sent = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001  # of older exporters, what the connection raises
            self.losses.lose(1, f"the export raised {type(error).__name__}")
            return
        if not sent:
            self.losses.lose(1, self._words.text or "the export failed")

    @contextlib.contextmanager
    def every(self, interval_s: float, last_s: float = LAST_S) -> Iterator[None]:
        """Sends them every ``interval_s`` seconds while the block runs, and once more at its end, in at most ``last_s``."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(interval_s):
                self.once()

        def last() -> None:
            thread.join()
            self.once()
            self._exporter.shutdown()

        thread = threading.Thread(target=run, name="otlp-metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            if not LastWork(last).done_within(last_s):
                self.losses.lose(1, f"the endpoint took too long at the end ({last_s:g} s)")


def open_exporter(telemetry: Telemetry) -> MetricExporter:
    """Makes the exporter of metrics. Opens no connection."""
    url = telemetry.url(METRICS)
    if telemetry.protocol(METRICS) == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        exporter: MetricExporter = GrpcExporter(endpoint=url)
        return exporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=url)


def metrics_data(families: Sequence[Family], resource: Resource, began_ns: int, now_ns: int) -> MetricsData:
    """Returns Prometheus' families as OpenTelemetry's data, cumulative since ``began_ns``.

    A counter has its name without ``_total``: what turns OTLP into Prometheus' metrics adds it again.
    """
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from pipeline.telemetry.spans import NAME

    found = [_metric(family, began_ns, now_ns) for family in families if family.samples]
    scope = ScopeMetrics(InstrumentationScope(NAME), found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, began_ns: int, now_ns: int) -> Metric:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

    cumulative = AggregationTemporality.CUMULATIVE
    data: Any
    if family.type == "histogram":
        data = Histogram(_histograms(family, began_ns, now_ns), cumulative)
    elif family.type == "counter":
        data = Sum(_numbers(family, began_ns, now_ns), cumulative, is_monotonic=True)
    else:
        data = Gauge(_numbers(family, now_ns, now_ns))
    from pipeline.telemetry.gen_ai import OTEL_METRICS

    name, unit = OTEL_METRICS.get(family.name, (family.name, "s" if family.name.endswith("_seconds") else ""))
    return Metric(name, family.documentation, unit, data)


def _numbers(family: Family, began_ns: int, now_ns: int) -> list[NumberDataPoint]:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    return [NumberDataPoint(dict(sample.labels), began_ns, now_ns, sample.value) for sample in family.samples]


def _histograms(family: Family, began_ns: int, now_ns: int) -> list[HistogramDataPoint]:
    """One for each set of labels."""
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        found.setdefault(labels, []).append(sample)
    return [_histogram(family.name, labels, samples, began_ns, now_ns) for labels, samples in found.items()]


def _histogram(
    name: str, labels: Iterable[tuple[str, str]], samples: Sequence[Sample], began_ns: int, now_ns: int
) -> HistogramDataPoint:
    """Prometheus' buckets count all that is up to a bound, OpenTelemetry's what is between two."""
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    from pipeline.telemetry.gen_ai import OTEL_ATTRIBUTES

    named = {end: [it for it in samples if it.name == name + end] for end in ("_bucket", "_count", "_sum")}
    up_to = [int(sample.value) for sample in named["_bucket"]]
    counts = [count - before for count, before in zip(up_to, [0, *up_to], strict=False)]
    bounds = [float(sample.labels["le"]) for sample in named["_bucket"][:-1]]
    total, values = int(named["_count"][0].value), float(named["_sum"][0].value)
    unknown: Any = None  # the least and the largest value, which OTLP may leave out
    attributes = {OTEL_ATTRIBUTES.get(label, label): value for label, value in labels}
    return HistogramDataPoint(attributes, began_ns, now_ns, total, values, counts, bounds, unknown, unknown)
