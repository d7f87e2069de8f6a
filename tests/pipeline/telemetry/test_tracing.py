"""The way of spans to an OTLP endpoint: it is bounded in memory and in time, and what is lost is counted."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pipeline.process.stats import Totals, WorkerStats
from pipeline.telemetry.losses import LastWords, Losses, last_words
from pipeline.telemetry.settings import OFF, Telemetry
from pipeline.telemetry.tracing import Export, open_exporter, traced
from tests.otlp_receiver import receiving
from tests.pipeline.telemetry.test_spans import PAYLOAD, parent, scored
from transforms.observe import Observer, set_observer
from transforms.tracing import tracer


@pytest.fixture
def stats() -> Iterator[WorkerStats]:
    observed = WorkerStats()
    set_observer(observed)
    yield observed
    set_observer(Observer())


class Stuck(SpanExporter):
    """Takes spans, and does not come back until it is told to."""

    def __init__(self) -> None:
        self.taken = 0
        self.called, self.free = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        self.called.set()
        self.free.wait()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def small(queue: int) -> Telemetry:
    variables = (("OTEL_BSP_MAX_QUEUE_SIZE", str(queue)),)
    return Telemetry("http://h:1", traces=True, variables=variables, group="g")


def test_spans_reach_the_endpoint(stats: WorkerStats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with receiving() as receiver:
        with traced(Telemetry(receiver.url, traces=True, group="g", instance="host-0")):
            scored([parent(1)])
        assert tracer() is None
    assert sorted(span.name for span in receiver.spans) == ["predict fake", "process in"]
    assert {span.trace_id.hex() for span in receiver.spans} == {f"{1:032x}"}
    assert receiver.headers[0]["authorization"] == "Bearer x"
    [resource] = receiver.resources
    assert resource["service.name"] == "kafka-model-scoring"
    assert resource["service.instance.id"] == "host-0"
    assert resource["deployment.environment"] == "test"
    assert Totals(stats.rows).spans_lost == 0


def test_the_name_that_was_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud")
    with receiving() as receiver, traced(Telemetry(receiver.url, traces=True)):
        scored([parent(1)])
    assert receiver.resources[0]["service.name"] == "fraud"


def test_off_makes_nothing() -> None:
    threads = set(threading.enumerate())
    with traced(OFF):
        assert tracer() is None
        assert set(threading.enumerate()) <= threads


def test_an_endpoint_that_hangs_costs_spans_only(stats: WorkerStats, caplog: pytest.LogCaptureFixture) -> None:
    """A queue of four is full while an export hangs; the job goes on, and its end waits for nothing that hangs."""
    exporter = Stuck()
    export = Export(exporter, small(4), LastWords(), flush_s=0.05)
    try:
        scored([parent(1)], size=1)  # two spans
        for _ in range(3):
            scored([parent(1)] * 10, size=10)  # eleven spans each
        export.close()
        assert not exporter.free.is_set(), "it hangs still"
        assert tracer() is None
        assert export.losses.lost == 2 + 33 == Totals(stats.rows).spans_lost, "with those that were being exported"
        assert exporter.taken <= 4
        assert "4 spans wait already (OTEL_BSP_MAX_QUEUE_SIZE)" in caplog.text
    finally:
        exporter.free.set()


def test_spans_whose_export_raises_are_counted(stats: WorkerStats, caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Stuck):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise ConnectionError("http://me:planted@h:1")

    export = Export(Raising(), small(4), LastWords())
    scored([parent(1)])
    export.close()
    assert export.losses.lost == 2 == Totals(stats.rows).spans_lost
    assert "the export raised ConnectionError" in caplog.text
    assert "planted" not in caplog.text


def test_spans_that_are_refused_are_counted_and_said_why(stats: WorkerStats, caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        receiver.status = 401
        with traced(Telemetry(receiver.url, traces=True)):
            scored([parent(1)])
    assert Totals(stats.rows).spans_lost == 2
    [line] = [record.getMessage() for record in caplog.records if record.name == "pipeline"]
    assert line.startswith(f"2 spans did not reach {receiver.url}/v1/traces: Failed to export spans batch code: 401")
    assert str(PAYLOAD) not in line


def test_an_endpoint_that_is_away_does_not_hold_the_end(stats: WorkerStats, caplog: pytest.LogCaptureFixture) -> None:
    """The exporter would try again for ten seconds."""
    with receiving() as gone:
        pass
    telemetry = dataclasses.replace(OFF, endpoint=gone.url, traces=True)
    exporter = open_exporter(telemetry)
    export = Export(exporter, telemetry, LastWords(), flush_s=0.05)
    try:
        scored([parent(1)])
        export.close()
        assert Totals(stats.rows).spans_lost == export.losses.lost == 2
        assert "the endpoint took too long at the end (0.05 s)" in caplog.text
    finally:
        exporter.shutdown()
        for thread in threading.enumerate():
            if thread.name == "telemetry":  # it warns that the exporter has ended: not in the next test
                thread.join()


def test_losses_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    told: list[int] = []
    losses = Losses("spans", "http://me:planted@h:1", told.append, lambda: now[0])
    for at in (0.0, 1.0, 59.0, 60.0):
        now[0] = at
        losses.lose(2, f"why {at:g}")
    losses.lose(0, "nothing")
    assert (losses.lost, told) == (8, [2, 2, 2, 2])
    # Of ours: an exporter that a test before has left behind, as a job does, may only now say that it gives up.
    assert [record.getMessage() for record in caplog.records if record.name == "pipeline"] == [
        "2 spans did not reach http://…@h:1: why 0; the job goes on",
        "6 spans did not reach http://…@h:1: why 60; the job goes on",
    ]


def test_opentelemetry_does_not_talk_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("opentelemetry.x")
    with last_words() as words:
        logger.error("status %d", 503)
    assert (words.text, caplog.text) == ("status 503", "")
