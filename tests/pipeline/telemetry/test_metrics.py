"""The metrics of ``/metrics`` over OTLP: the same names, labels and values."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from prometheus_client import generate_latest

from pipeline.reporting.collector import StatsCollector, registry_of
from pipeline.reporting.lag import Lag
from pipeline.telemetry.gen_ai import gen_ai_of
from pipeline.telemetry.metrics import Push, pushed
from pipeline.telemetry.settings import OFF, Telemetry
from tests.otlp_receiver import plain, receiving
from tests.pipeline.reporting.test_collector import parse, stats
from transforms.types import Tokens

LAG = Lag({("in", 0): 5, ("in", 1): 7})
CHANGES = {"scoring_start_timestamp_seconds"}
"""Each collector has its own."""


def flattened(metrics: dict[str, Metric]) -> dict[tuple[str, ...], float]:
    """As ``parse`` gives the text of Prometheus: the name and the values of the labels by their names, to the value."""
    found: dict[tuple[str, ...], float] = {}
    for name, metric in metrics.items():
        data: Any = getattr(metric, str(metric.WhichOneof("data")))
        for point in data.data_points:
            labels = [json.dumps(value)[1:-1] for _, value in sorted(plain(point.attributes).items())]  # escaped alike
            if metric.HasField("histogram"):
                count = 0
                bounds = [*(str(bound) for bound in point.explicit_bounds), "+Inf"]
                for bound, here in zip(bounds, point.bucket_counts, strict=True):
                    count += here
                    found[f"{name}_bucket", bound] = count
                found[f"{name}_count",], found[f"{name}_sum",] = point.count, point.sum
                assert not point.HasField("min"), "it is not known"
            else:
                total = "_total" if metric.HasField("sum") else ""
                found[name + total, *labels] = getattr(point, str(point.WhichOneof("value")))
    return found


def test_what_is_sent_is_what_prometheus_reads() -> None:
    rows = stats().rows
    with (
        receiving() as receiver,
        pushed(Telemetry(receiver.url, metrics=True, instance="i"), lambda: StatsCollector(rows, lambda: LAG, "digits")),
    ):
        pass
    expected = parse(generate_latest(registry_of(rows, lambda: LAG, "digits")).decode())
    sent = flattened(receiver.exports[-1])
    assert {key: value for key, value in sent.items() if key[0] not in CHANGES} == {
        key: pytest.approx(value) for key, value in expected.items() if key[0] not in CHANGES
    }
    assert {key[0] for key in sent} >= CHANGES
    assert receiver.resources[0]["service.instance.id"] == "i"


def test_sums_and_histograms_add_up_since_the_start() -> None:
    with receiving() as receiver, pushed(Telemetry(receiver.url, metrics=True), lambda: StatsCollector(stats().rows)):
        pass
    for name, kind in (("scoring_records", "sum"), ("scoring_latency_seconds", "histogram")):
        metric = receiver.exports[-1][name]
        data = getattr(metric, kind)
        assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        assert 0 < data.data_points[0].start_time_unix_nano < data.data_points[0].time_unix_nano
    assert receiver.exports[-1]["scoring_records"].sum.is_monotonic
    assert (receiver.exports[-1]["scoring_latency_seconds"].unit, receiver.exports[-1]["scoring_records"].unit) == ("s", "")


def test_those_of_a_language_model_have_the_names_of_the_conventions() -> None:
    worker, labels = stats(), gen_ai_of("openai+http://llm:8000/v1/Qwen/Qwen3-8B?task=completions")
    worker.counted_tokens(Tokens(20, 5))
    with (
        receiving() as receiver,
        pushed(Telemetry(receiver.url, metrics=True), lambda: StatsCollector(worker.rows, gen_ai=labels)),
    ):
        pass
    usage, duration = (receiver.exports[-1][f"gen_ai.client.{name}"] for name in ("token.usage", "operation.duration"))
    assert (usage.unit, duration.unit) == ("{token}", "s")
    common = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "Qwen/Qwen3-8B",
    }
    found = {plain(point.attributes)["gen_ai.token.type"]: point for point in usage.histogram.data_points}
    assert {kind: (point.count, point.sum) for kind, point in found.items()} == {"input": (1, 20), "output": (1, 5)}
    assert plain(found["input"].attributes) == {**common, "gen_ai.token.type": "input"}
    assert list(found["input"].explicit_bounds[:4]) == [1, 4, 16, 64]
    assert found["input"].bucket_counts[3] == 1
    [took] = duration.histogram.data_points
    assert (plain(took.attributes), took.count) == (common, 1)
    assert took.sum == pytest.approx(0.02)
    # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ gives both lists in full.
    assert list(found["input"].explicit_bounds[4:]) == [
        256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
    ]  # fmt: skip
    assert list(took.explicit_bounds) == [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]  # fmt: skip


def test_they_are_sent_every_interval() -> None:
    twice = threading.Event()
    count = [0]

    def came() -> None:
        count[0] += 1
        if count[0] == 2:
            twice.set()

    settings = Telemetry(metrics=True, variables=(("OTEL_METRIC_EXPORT_INTERVAL", "1"),))
    with receiving() as receiver:
        receiver.before = came
        with pushed(
            Telemetry(receiver.url, metrics=True, variables=settings.variables), lambda: StatsCollector(stats().rows)
        ):
            assert twice.wait(60)


def test_an_endpoint_that_hangs_does_not_hold_the_end(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk.resources import Resource

    from pipeline.telemetry.losses import LastWords
    from pipeline.telemetry.metrics import open_exporter

    free = threading.Event()
    with receiving() as receiver:
        receiver.before = free.wait
        exporter = open_exporter(Telemetry(receiver.url, metrics=True))
        push = Push(exporter, StatsCollector(stats().rows), Resource({}), LastWords(), receiver.url)
        with push.every(3600, last_s=0.05):
            pass
        assert push.losses.lost == 1
        free.set()
    assert f"1 exports of metrics did not reach {receiver.url}: the endpoint took too long at the end" in caplog.text


def test_an_export_that_raises_is_lost_and_the_next_one_is_tried() -> None:
    """Exporters before 1.34 raise what a second attempt to connect does."""
    from opentelemetry.sdk.resources import Resource

    from pipeline.telemetry.losses import LastWords

    twice = threading.Event()

    class Raising:
        calls = 0

        def export(self, data: Any) -> Any:
            self.calls += 1
            if self.calls == 2:
                twice.set()
            raise ConnectionError("http://me:planted@h:1")

        def shutdown(self) -> None: ...

    exporter: Any = Raising()
    push = Push(exporter, StatsCollector(stats().rows), Resource({}), LastWords(), "http://h:1")
    with push.every(0.001):
        assert twice.wait(60)
    assert push.losses.lost >= 2


def test_off_sends_nothing() -> None:
    def collector() -> Any:
        raise AssertionError("nobody asked for it")

    with pushed(OFF, collector):
        pass
