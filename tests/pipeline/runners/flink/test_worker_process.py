"""What the observer of a worker on Flink reports is what ``/metrics`` counts elsewhere."""

from __future__ import annotations

import inspect
from typing import Any

import apache_beam as beam
from apache_beam.metrics import MetricsFilter

from pipeline.process.stats import WorkerStats
from pipeline.reporting.collector import registry_of
from pipeline.runners.flink.worker_process import NAMESPACE, NOT_REPORTED, BeamMetrics
from tests.beam_run import run
from transforms.errors import ScoringError
from transforms.observe import Observer

EVENTS: dict[str, tuple[Any, ...]] = {
    "committed": (7, {"Tombstone": 2, "Rejected": 3}, [(5.0, 12)]),
    "polled": (),
    "answered": (11,),
    "retried": (),
    "rolled_back": ("x",),
    "left_unanswered": (3,),
    "assigned": (["a/0"],),
    "holding": ("down",),
    "failed": (ScoringError("x"),),
}
"""Every event of ``Observer``, and what it is called with here."""


def fire(observer: Observer) -> None:
    for name, arguments in EVENTS.items():
        getattr(observer, name)(*arguments)


def overridden(kind: type[Observer]) -> set[str]:
    return {name for name in EVENTS if getattr(kind, name) is not getattr(Observer, name)}


def test_every_event_is_tried_here() -> None:
    assert EVENTS.keys() == {name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if name[0] != "_"}


def test_every_event_that_the_workers_count_is_reported_on_flink() -> None:
    """Else it says so, and why."""
    assert overridden(WorkerStats) - overridden(BeamMetrics) == NOT_REPORTED.keys()
    assert all(NOT_REPORTED.values())


def test_every_counter_of_the_collector_is_a_metric_on_flink() -> None:
    """By name and by value; the dead letters of each class are ``dead_letters_CLASS``, as Beam's metrics have no labels."""
    stats = WorkerStats()
    fire(stats)
    expected: dict[str, float] = {}
    for metric in registry_of(stats.rows).collect():
        if metric.type == "counter":
            name = metric.name.removeprefix("scoring_")
            expected[name] = sum(sample.value for sample in metric.samples)
            expected |= {f"{name}_{label}": s.value for s in metric.samples for label in s.labels.values()}
    result = run([0], beam.Map(lambda _: fire(BeamMetrics())), lambda found: None)
    metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    assert {found.key.metric.name: found.committed for found in metrics["counters"]} == expected
    [latency] = metrics["distributions"]
    assert (latency.key.metric.name, latency.committed.max) == ("latency_ms", 5)
