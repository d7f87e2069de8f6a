"""``traced``: exports the spans of this process while a block runs. An endpoint that hangs costs spans, and nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.telemetry.losses import LastWords, LastWork, Losses, last_words
from pipeline.telemetry.settings import GRPC, TRACES, Telemetry
from transforms.observe import observer
from transforms.tracing import set_tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_S = 5.0
"""How long the last spans may take at the end, in seconds."""

QUEUE = 2048
"""Spans that wait for their export, at most, unless ``OTEL_BSP_MAX_QUEUE_SIZE`` says so; OpenTelemetry's default."""

AT_ONCE = 512
"""Spans of one export at most, unless ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE`` says so; OpenTelemetry's default."""

LINKS = 128
"""Links that a span has at most, unless a request may have more records; OpenTelemetry's default."""


@contextlib.contextmanager
def traced(telemetry: Telemetry) -> Iterator[None]:
    """Makes and exports spans, if they are wanted."""
    if not telemetry.traces:
        yield
        return
    with last_words() as words:
        export = Export(open_exporter(telemetry), telemetry, words)
        try:
            yield
        finally:
            export.close()


class Export:
    """The tracer of this process, and the way of its spans to an exporter.

    Args:
        exporter: Sends them.
        telemetry: The settings.
        words: What OpenTelemetry has logged last.
        flush_s: How long the last spans may take.
    """

    def __init__(self, exporter: SpanExporter, telemetry: Telemetry, words: LastWords, flush_s: float = FLUSH_S):
        from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        from pipeline.telemetry.spans import OtelTracer

        variables = dict(telemetry.variables)
        self._flush_s, self._words = flush_s, words
        self.losses = losses = Losses("spans", _where(telemetry), lambda count: observer().spans_lost(count))
        self._waiting = self._unsettled = 0  # in the queue; there, or being exported
        self._ended, self._lock = False, threading.Lock()
        most = int(variables.get("OTEL_BSP_MAX_QUEUE_SIZE") or QUEUE)

        class Counted(SpanExporter):
            def export(_, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: N805  # self is the export
                with self._lock:
                    self._waiting -= len(spans)
                result, why = SpanExportResult.FAILURE, ""
                try:
                    result = exporter.export(spans)
                except Exception as error:  # noqa: BLE001  # of older exporters, what the connection raises
                    why = f"the export raised {type(error).__name__}"
                with self._lock:
                    self._unsettled -= len(spans)
                    told = self._ended  # these are counted as lost already
                if result is not SpanExportResult.SUCCESS and not told:
                    losses.lose(len(spans), why or words.text or "the export failed")
                return result

            def shutdown(_) -> None:  # noqa: N805
                exporter.shutdown()

        at_once = min(int(variables.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or AT_ONCE), most)
        batches = BatchSpanProcessor(Counted(), max_queue_size=most, max_export_batch_size=at_once)

        class Bounded(SpanProcessor):
            def on_end(_, span: ReadableSpan) -> None:  # noqa: N805
                if span.context is None or not span.context.trace_flags.sampled:
                    return
                with self._lock:
                    full = self._waiting >= most
                    self._waiting += not full
                    self._unsettled += not full
                if full:
                    losses.lose(1, f"{most} spans wait already (OTEL_BSP_MAX_QUEUE_SIZE)")
                else:
                    batches.on_end(span)

            def shutdown(_) -> None:  # noqa: N805
                batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own

        links = None if "OTEL_SPAN_LINK_COUNT_LIMIT" in variables else max(LINKS, telemetry.links)
        self._provider = TracerProvider(
            resource=resource_of(telemetry), span_limits=SpanLimits(max_links=links), shutdown_on_exit=False
        )
        self._provider.add_span_processor(Bounded())
        self._shutdown = LastWork(self._provider.shutdown)
        set_tracer(OtelTracer(self._provider, telemetry.group))

    def close(self) -> None:
        """Ends tracing and sends what is left, in bounded time: what an endpoint does not take by then is lost."""
        set_tracer(None)
        if not self._shutdown.done_within(self._flush_s):
            with self._lock:
                self._ended, left = True, self._unsettled
            self.losses.lose(left, f"the endpoint took too long at the end ({self._flush_s:g} s)")
        self.losses.tell(self._words.text or "see above")


def open_exporter(telemetry: Telemetry) -> SpanExporter:
    """Makes the exporter of spans. Opens no connection."""
    url = telemetry.url(TRACES)
    if telemetry.protocol(TRACES) == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        exporter: SpanExporter = GrpcExporter(endpoint=url)
        return exporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=url)


def resource_of(telemetry: Telemetry) -> Resource:
    """Returns who exports: the variables (``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``), and what they leave open."""
    from opentelemetry.sdk.resources import Resource

    from pipeline.telemetry.spans import NAME

    found = Resource.create()
    unnamed = str(found.attributes.get("service.name", "")).startswith("unknown_service")  # the SDK's default
    ours = {"service.name": NAME} if unnamed else {}
    if telemetry.instance and "service.instance.id" not in dict(telemetry.variables).get("OTEL_RESOURCE_ATTRIBUTES", ""):
        ours["service.instance.id"] = telemetry.instance
    return found.merge(Resource(ours))


def _where(telemetry: Telemetry) -> str:
    variables = dict(telemetry.variables)
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    said = next((variables[name] for name in names if variables.get(name)), "the OTLP endpoint")
    return telemetry.url(TRACES) or said
