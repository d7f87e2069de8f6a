"""``OtelTracer``: the spans of requests and of records, by OpenTelemetry's semantic conventions.

A record's span, ``process TOPIC``, continues the record's ``traceparent``. It lasts from decoding to encoding; its context
goes into the headers of the prediction or dead letter. A request's span, ``predict MODEL``, has a link to each of its
sampled records, and is in the trace of the first. A record's span has a link to the request that answered it.

No attribute holds a key, a value, a header or a flag's secret.
"""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from pipeline.telemetry.context import context_from, context_of, traceparent, with_context
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ModelError
from transforms.headers import ATTEMPTS, ERROR_ATTEMPTS, ERROR_CLASS, ERROR_MESSAGE, ERROR_STAGE, MODEL, VERSION
from transforms.observe import failure_kind
from transforms.tracing import BatchTraces, RequestTrace, Target, Tracer
from transforms.types import AnsweredSegment, KafkaRecord, OutputRecord, PredictedChunk

NAME = "kafka-model-scoring"

UNTOLD = frozenset(it.error_class for it in (DeadLetterClass.PREPROCESS_ERROR, DeadLetterClass.POSTPROCESS_ERROR))
"""Dead-letter classes whose message is left out of spans: it comes from the user's exception, which may quote the record."""

Attributes = Mapping[str, AttributeValue]


class OtelTracer(Tracer):
    """Makes spans by OpenTelemetry's SDK.

    Args:
        provider: Makes the tracer; its sampler decides what is recorded.
        group: The consumer group.
    """

    def __init__(self, provider: TracerProvider, group: str = ""):
        self._tracer = provider.get_tracer(NAME)
        self._parents_decide = isinstance(provider.sampler, ParentBased)
        self._group = group

    def traced(self, record: KafkaRecord) -> tuple[bool, SpanContext | None]:
        """Whether the record gets a span, and what it continues. What another process does not trace, we do not, either."""
        context = context_of(record.headers)
        return context is None or self._follows(context), context

    def batch(self, target: Target, headers: Sequence[list[tuple[str, bytes | None]]]) -> BatchTraces | None:
        """As ``Tracer.batch``."""
        contexts = [context_of(one) for one in headers]
        if not any(context is None or self._follows(context) for context in contexts):
            return None
        return _Batch(self, target, contexts)

    def request(self, target: Target, contexts: Sequence[SpanContext | None], attempts: int) -> RequestTrace | None:
        """Begins the span of a request for records with these contexts; ``None`` if none of them is traced."""
        known = [context for context in contexts if context is not None and self._follows(context)]
        sampled = [context for context in known if context.trace_flags.sampled]
        if not known and None not in contexts:
            return None
        parent = next(iter(sampled or ([] if None in contexts else known)), None)
        attributes = {**attributes_of(target), "messaging.batch.message_count": len(contexts), ATTEMPTS: attempts}
        links = [Link(context) for context in {(it.trace_id, it.span_id): it for it in sampled}.values()]
        kind = SpanKind.CLIENT if "server.address" in attributes else SpanKind.INTERNAL
        span = self._tracer.start_span(f"predict {target.model}", _continuing(parent), kind, attributes, links)
        return _Request(span)

    def records(self, chunk: PredictedChunk, written: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
        """As ``Tracer.records``."""
        answers: dict[int, AnsweredSegment] = {row: answer for answer in chunk.answers for row in answer.rows}
        outputs = list(written)
        for row, (record, output) in enumerate(zip(chunk.records, written, strict=True)):
            traced, context = self.traced(record)
            if traced:
                outputs[row] = self._record(record, output, context, answers.get(row), chunk.began_ns)
        return outputs

    def refused(self, prediction: OutputRecord, letter: OutputRecord) -> OutputRecord:
        """As ``Tracer.refused``: a span of its own, below the record's, which has ended."""
        context = context_of(prediction.headers)
        if context is None or not self._follows(context):
            return letter
        attributes = {**self._of_source(*letter.source), "messaging.operation.type": "send"}
        span = self._tracer.start_span(f"send {prediction.topic}", _continuing(context), SpanKind.INTERNAL, attributes)
        return _ended(span, letter)

    def _record(
        self,
        record: KafkaRecord,
        output: OutputRecord,
        context: SpanContext | None,
        answer: AnsweredSegment | None,
        began_ns: int,
    ) -> OutputRecord:
        request = context_from(answer.traceparent) if answer is not None and answer.traceparent else None
        span = self._tracer.start_span(
            f"process {record.topic}",
            _continuing(context),
            SpanKind.CONSUMER,
            {**self._of_source(record.topic, record.partition, record.offset), "messaging.operation.type": "process"},
            [] if request is None else [Link(request)],
            began_ns or None,
        )
        return _ended(span, output)

    def _of_source(self, topic: str, partition: int, offset: int) -> Attributes:
        return {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.offset": offset,
            "messaging.consumer.group.name": self._group,
        }

    def _follows(self, context: SpanContext) -> bool:
        """Whether to ask the sampler. A parent-based one drops what another process did not sample, so it is not asked."""
        return context.trace_flags.sampled or not self._parents_decide


class _Batch(BatchTraces):
    def __init__(self, tracer: OtelTracer, target: Target, contexts: Sequence[SpanContext | None]):
        self._tracer, self._target, self._contexts = tracer, target, contexts

    def request(self, start: int, rows: int, attempts: int) -> RequestTrace | None:
        return self._tracer.request(self._target, self._contexts[start : start + rows], attempts)


class _Request(RequestTrace):
    def __init__(self, span: Span):
        self._span = span
        self.traceparent = traceparent(span.get_span_context())

    def answered(self, version: str) -> None:
        if version:
            self._span.set_attribute(VERSION, version)
        self._span.end()

    def failed(self, error: BaseException) -> None:
        """Records the error's class and only our own words: the server's text may repeat the request, with other records."""
        kind = failure_kind(error) if isinstance(error, ModelError) else type(error).__name__
        said = error.own_words if isinstance(error, ModelError) else None
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, said))
        self._span.end()


def _ended(span: Span, output: OutputRecord) -> OutputRecord:
    """Ends the span of a record whose output is known; returns the output with the span's context."""
    if span.is_recording():
        headers = dict(output.headers)
        attempts = ATTEMPTS if output.failed_stage is None else ERROR_ATTEMPTS
        span.set_attribute(ATTEMPTS, int(headers.get(attempts) or 0))
        if output.failed_stage is None:
            for name in (MODEL, VERSION):
                span.set_attribute(name, (headers.get(name) or b"").decode("utf-8", "replace"))
        else:
            kind = (headers.get(ERROR_CLASS) or b"").decode("utf-8", "replace")
            span.set_attribute("error.type", kind)
            span.set_attribute(ERROR_STAGE, output.failed_stage)
            said = (
                {}
                if kind in UNTOLD
                else {"exception.message": (headers.get(ERROR_MESSAGE) or b"").decode("utf-8", "replace")}
            )
            span.add_event("exception", {"exception.type": kind, **said})
            span.set_status(Status(StatusCode.ERROR, kind))
        span.end()
    return output._replace(headers=with_context(output.headers, span.get_span_context()))


def _continuing(context: SpanContext | None) -> Context:
    return Context() if context is None else set_span_in_context(NonRecordingSpan(context), Context())


@functools.lru_cache(maxsize=64)
def attributes_of(target: Target) -> Attributes:
    """Returns the attributes of a request to a model: of its URI only host, port and protocol."""
    uri = urllib.parse.urlsplit(target.uri)
    found: dict[str, AttributeValue] = {MODEL: target.model}
    scheme = uri.scheme.rpartition("+")[2]
    if scheme in ("grpc", "grpcs"):
        found["rpc.system"] = "grpc"
    elif scheme in ("http", "https"):
        found |= {"http.request.method": "POST", "network.protocol.name": "http"}
    elif scheme == "saved_model":
        return found
    if scheme == "sagemaker":
        from transforms.clients.sagemaker.uri import parse  # here: it loads what only this client needs

        uri = urllib.parse.urlsplit(parse(target.uri).origin)
    if uri.hostname and scheme != "vertex":
        found["server.address"] = uri.hostname
        if uri.port is not None:
            found["server.port"] = uri.port
    elif scheme == "vertex":
        region = uri.path.strip("/").partition("/")[0]
        found["server.address"] = f"{region}-aiplatform.googleapis.com"
    return found
