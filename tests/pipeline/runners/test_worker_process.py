"""What the observer of a worker on Flink reports is what ``/metrics`` counts elsewhere."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
from typing import Any

import apache_beam as beam
from apache_beam.metrics import MetricsFilter

from pipeline.process.stats import WorkerStats
from pipeline.reporting.collector import registry_of
from pipeline.runners.worker_process import NAMESPACE, NOT_REPORTED, BeamMetrics, prepare
from pipeline.telemetry.settings import Telemetry
from tests.beam_run import run
from tests.otlp_receiver import receiving
from transforms.errors import OverloadedError, ScoringError
from transforms.observe import Observer, RollbackCause
from transforms.types import OutputRecord, Tokens

EVENTS: dict[str, tuple[Any, ...]] = {
    "committed": (7, {("decode", "Tombstone"): 2, ("predict", "Rejected"): 3}, [(0.005, 12)]),
    "polled": (),
    "committed_after": ([0.5, 2.0], 0.25),
    "written": ([OutputRecord("out", None, b"{}", [], None, ("in", 0, 1), None)],),
    "answered": (11, 0.5, "3"),
    "counted_tokens": (Tokens(20, 7),),
    "request_failed": (OverloadedError("x"),),
    "requesting": (2, 16),
    "retried": (),
    "rolled_back": ("x", RollbackCause.KAFKA),
    "left_unanswered": (3,),
    "assigned": (["a/0"],),
    "holding": ("down",),
    "spans_lost": (4,),
    "paced": (0.125,),
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


LABEL = {"dead_letters": "class", "request_failures": "class", "rollbacks": "reason"}
"""Counters with labels, and the one that is in the name here: ``dead_letters_CLASS``, as Beam's metrics have no labels."""

NOT_IN_BEAM = {
    "worker_restarts": "the runner starts workers again",
    "spans_lost": "see NOT_REPORTED",
    "rate_limit_wait_seconds": "a distribution: Beam's counters are whole numbers",
}
BESIDES = {"num_inferences": 11, "failed_batches_counter": 1, "input_tokens": 20, "output_tokens": 7}
"""Counters of ``RunInference``, by its names, which users may have dashboards for; and the sums of histograms of tokens."""


def test_every_counter_of_the_collector_is_a_metric_on_flink() -> None:
    """By name and by value."""
    stats = WorkerStats()
    fire(stats)
    expected: dict[str, float] = dict(BESIDES)
    for metric in registry_of(stats.rows).collect():
        name = metric.name.removeprefix("scoring_")
        if metric.type == "counter" and name not in NOT_IN_BEAM:
            expected[name] = sum(sample.value for sample in metric.samples)
            if name in LABEL:
                expected |= {f"{name}_{s.labels[LABEL[name]]}": s.value for s in metric.samples if s.value}
    result = run([0], beam.Map(lambda _: fire(BeamMetrics())), lambda found: None)
    metrics = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    assert {found.key.metric.name: found.committed for found in metrics["counters"]} == expected
    assert {found.key.metric.name: found.committed.max for found in metrics["distributions"]} == {
        "latency_milli_secs": 5,
        "rate_limit_wait_milli_secs": 125,
        "end_to_end_latency_milli_secs": 2000,
        "transaction_duration_milli_secs": 250,
        "inference_request_batch_size": 11,
        "inference_batch_latency_micro_secs": 500_000,
    }


WORKER = """
import pickle, sys
pickle.load(sys.stdin.buffer)()
from tests.pipeline.telemetry.test_spans import parent, scored
scored([parent(1)])
"""


def test_a_worker_traces_as_the_submitter_was_told_to() -> None:
    """What is staged has flag and variables, the worker's own variables win, and its end sends what is left."""
    staged = (("OTEL_EXPORTER_OTLP_HEADERS", "authorization=token"), ("OTEL_SERVICE_NAME", "submitter"))
    with receiving() as receiver:
        settings = Telemetry(receiver.url, traces=True, variables=staged, instance="shard", group="g")
        sent = pickle.dumps(functools.partial(prepare, settings))
        environ = {**os.environ, "OTEL_SERVICE_NAME": "worker"}
        subprocess.run([sys.executable, "-c", WORKER], input=sent, env=environ, check=True, timeout=120)
    assert sorted(span.name for span in receiver.spans) == ["predict fake", "process in"]
    assert receiver.headers[0]["authorization"] == "token"
    [resource] = receiver.resources
    assert resource["service.name"] == "worker"
    assert resource["service.instance.id"].startswith("shard-"), "with host and process: several workers have one job"
