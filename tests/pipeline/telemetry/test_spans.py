"""The spans of requests and records: what they continue, link to and say; and what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from pipeline.telemetry.context import context_of
from pipeline.telemetry.spans import OtelTracer, attributes_of
from tests.dispatching import failing
from tests.fake_model import Behaviour, Call, FakeModel, doubled, serving
from transforms.dead_letter import dead_letter
from transforms.encode.encoder import Encoder
from transforms.errors import RejectedError, TransientError
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.tracing import Target, set_tracer, tracer
from transforms.types import Answer, DecodedChunk, Failure, Headers, KafkaRecord, OutputRecord, PredictedChunk, Segment

T0 = 1_700_000_000_000_000_000
UNSAMPLED = "00-{:032x}-00000000000000aa-00"
SAMPLED = "00-{:032x}-00000000000000aa-01"
PAYLOAD = 4111111111
DEFAULT = ParentBased(ALWAYS_ON)


def parent(number: int, form: str = SAMPLED) -> Headers:
    return [("traceparent", form.format(number).encode())]


def chunk_of(headers: Sequence[Headers]) -> DecodedChunk:
    records = [KafkaRecord("in", 2, at, None, b"k", b"%d" % PAYLOAD, one) for at, one in enumerate(headers)]
    x = np.full((len(records), 1), PAYLOAD, np.float32)
    return DecodedChunk(records, [Segment("key", range(len(records)), {"x": x})], {}, began_ns=T0)


@contextlib.contextmanager
def recording(sampler: Sampler = DEFAULT) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_tracer(OtelTracer(provider, "group"))
    try:
        yield exporter
    finally:
        set_tracer(None)


def scored(headers: Sequence[Headers], behaviour: Behaviour = doubled, size: int = 64) -> list[OutputRecord]:
    """Predict and Encode, as a bundle does them."""
    with serving(FakeModel(behaviour)) as uri:
        config = PredictConfig(uri, FakeModel().metadata, batch_max_size=size)
        predict, encoder = PredictChunks(config), Encoder("out", "dead", "model")
        predict.setup()
        try:
            predict.start_bundle()
            chunks: list[PredictedChunk] = list(predict.process(chunk_of(headers)))
            chunks += [windowed.value for windowed in predict.finish_bundle()]
        finally:
            predict.teardown()
    written: list[OutputRecord] = []
    for chunk in chunks:
        tracing, plain = tracer(), encoder.encode(chunk)
        written += plain if tracing is None else tracing.records(chunk, plain)
    return written


def only(spans: Sequence[ReadableSpan], start: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name.startswith(start)]


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.trace_id for link in span.links]


def ids(headers: Headers) -> tuple[int, int, bool]:
    context = context_of(headers)
    assert context is not None
    return context.trace_id, context.span_id, context.trace_flags.sampled


def test_a_prediction_continues_the_trace_of_its_record() -> None:
    with recording() as exporter:
        written = scored([parent(1), parent(2), []])
    process, [predict] = (
        only(exporter.get_finished_spans(), "process in"),
        only(exporter.get_finished_spans(), "predict fake"),
    )
    assert [span.context.trace_id for span in process[:2] if span.context] == [1, 2]
    assert [span.parent.span_id if span.parent else None for span in process] == [0xAA, 0xAA, None]
    assert [ids(output.headers) for output in written] == [
        (span.context.trace_id, span.context.span_id, True) for span in process if span.context
    ]
    assert predict.context is not None
    assert predict.parent is not None
    assert (predict.context.trace_id, predict.parent.span_id) == (1, 0xAA), "in the trace of its first record"
    assert linked(predict) == [1, 2], "a record without a context has nothing to link to, and links to the request itself"
    assert [linked(span) for span in process] == [[1], [1], [1]]
    assert (process[0].kind, predict.kind) == (SpanKind.CONSUMER, SpanKind.CLIENT)
    assert process[0].start_time == T0
    assert process[0].attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "in",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 0,
        "messaging.consumer.group.name": "group",
        "inference.model": "model",
        "inference.version": "7",
        "inference.attempts": 1,
    }
    assert predict.attributes == {
        "inference.model": "fake",
        "inference.version": "7",
        "inference.attempts": 1,
        "messaging.batch.message_count": 3,
        "server.address": "model",
    }


def test_what_another_process_does_not_sample_is_left_alone() -> None:
    """No span is made, for the request neither, and the headers are carried as they came."""
    with recording() as exporter:
        written = scored([parent(1, UNSAMPLED), parent(2, UNSAMPLED)])
        assert exporter.get_finished_spans() == ()
        assert [output.headers[0] for output in written] == [parent(1, UNSAMPLED)[0], parent(2, UNSAMPLED)[0]]
        scored([parent(1, UNSAMPLED), parent(2)])
    assert [linked(span) for span in only(exporter.get_finished_spans(), "predict")] == [[2]]
    assert len(only(exporter.get_finished_spans(), "process")) == 1


def test_a_sampler_that_asks_no_parent_is_asked_for_every_record() -> None:
    with recording(ALWAYS_ON) as exporter:
        written = scored([parent(1, UNSAMPLED)])
    assert len(exporter.get_finished_spans()) == 2
    assert ids(written[0].headers)[0] == 1


def test_a_record_without_a_trace_that_is_not_sampled_says_so() -> None:
    with recording(ParentBased(ALWAYS_OFF)) as exporter:
        written = scored([[], parent(2)])
    assert [span.context.trace_id for span in exporter.get_finished_spans() if span.context] == [2, 2]
    assert [ids(output.headers)[2] for output in written] == [False, True]


def test_the_state_of_a_trace_is_carried() -> None:
    with recording():
        [output] = scored([[("a", b"1"), ("tracestate", b"vendor=x"), *parent(1), ("b", None)]])
    names = [name for name, _ in output.headers]
    assert names[:4] == ["traceparent", "tracestate", "a", "b"]
    assert output.headers[1][1] == b"vendor=x"


def test_each_attempt_is_a_span_and_says_how_it_failed() -> None:
    with recording() as exporter:
        scored([parent(1)], failing([TransientError("busy")]))
    first, second = only(exporter.get_finished_spans(), "predict")
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "busy"
    assert dict(first.attributes or {})["error.type"] == "Transient"
    assert (second.status.status_code, dict(second.attributes or {})["inference.attempts"]) == (StatusCode.UNSET, 2)


def test_what_the_server_says_is_not_repeated() -> None:
    error = RejectedError(f"model m: bad input {PAYLOAD}")
    error.said = f"bad input {PAYLOAD}"
    with recording() as exporter:
        scored([parent(1)], failing([error] * 9))
    for span in only(exporter.get_finished_spans(), "predict"):
        assert str(PAYLOAD) not in span.to_json()


def test_a_request_that_is_cancelled_ends_its_span() -> None:
    """The bundle is given up while the server does not answer."""

    async def never(call: Call) -> Answer:
        await asyncio.Event().wait()
        return await doubled(call)

    with recording() as exporter, serving(FakeModel(never)) as uri:
        predict = PredictChunks(PredictConfig(uri, FakeModel().metadata, batch_max_size=1))
        predict.setup()
        predict.start_bundle()
        assert list(predict.process(chunk_of([parent(1)]))) == []
        predict.teardown()
    [span] = exporter.get_finished_spans()
    assert dict(span.attributes or {})["error.type"] == "CancelledError"


@pytest.mark.parametrize("own", [False, True])
def test_a_dead_letter_is_an_exception_of_its_span(own: bool) -> None:
    """Its text stays out where it is that of the user's own function: nobody knows what it holds."""
    name = "PreprocessError" if own else "FieldError"
    with recording() as exporter:
        tracing = tracer()
        assert tracing is not None
        record = KafkaRecord("in", 0, 7, None, b"k", b"%d" % PAYLOAD, parent(1))
        failure = Failure("decode", name, "why", 3)
        [letter] = tracing.records(PredictedChunk([record], [], {0: failure}), [dead_letter(record, failure, "dead")])
    [span] = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, name)
    found = dict(span.attributes or {})
    assert (found["error.type"], found["inference.error.stage"], found["inference.attempts"]) == (name, "decode", 3)
    [event] = span.events
    assert event.name == "exception"
    assert dict(event.attributes or {}) == {"exception.type": name} | ({} if own else {"exception.message": "why"})
    assert span.context is not None
    assert ids(letter.headers) == (1, span.context.span_id, True)
    assert letter.headers[1:] == dead_letter(record, failure, "dead").headers[1:], "all else is as without traces"


def test_a_refused_prediction_is_below_its_record() -> None:
    with recording() as exporter:
        [prediction] = scored([parent(1)])
        tracing = tracer()
        assert tracing is not None
        record = KafkaRecord("in", 2, 0, None, b"k", b"", parent(1))
        letter = dead_letter(record, Failure("write", "RecordTooLarge", "why"), "dead")
        written = tracing.refused(prediction, letter)
        untraced = prediction._replace(headers=parent(2, UNSAMPLED))
        assert tracing.refused(untraced, letter) is letter
    [send] = only(exporter.get_finished_spans(), "send out")
    assert send.context is not None
    assert send.parent is not None
    assert send.parent.span_id == ids(prediction.headers)[1]
    assert ids(written.headers) == (1, send.context.span_id, True)
    assert send.status.status_code is StatusCode.ERROR


def test_no_payload_and_no_key_is_in_a_span() -> None:
    with recording() as exporter:
        scored([parent(1), [("secret", b"planted"), *parent(2)]])
    for span in exporter.get_finished_spans():
        assert str(PAYLOAD) not in span.to_json()
        assert "planted" not in span.to_json()


def test_without_a_tracer_nothing_is_changed() -> None:
    assert tracer() is None
    [output] = scored([parent(1)])
    assert output.headers[0] == parent(1)[0]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("grpc://h:8500/m", {"rpc.system": "grpc", "server.address": "h", "server.port": 8500}),
        ("oip+grpcs://h/m", {"rpc.system": "grpc", "server.address": "h"}),
        (
            "http://h:1/v1/models/m?token=x",
            {"http.request.method": "POST", "network.protocol.name": "http", "server.address": "h", "server.port": 1},
        ),
        ("vertex://p/europe-west1/1", {"server.address": "europe-west1-aiplatform.googleapis.com"}),
        ("sagemaker://e?region=eu-west-1", {"server.address": "runtime.sagemaker.eu-west-1.amazonaws.com"}),
        (
            "sagemaker://e?region=eu-west-1&endpoint=http://h:1",
            {"server.address": "h", "server.port": 1},
        ),
        ("saved_model:///secret/path", {}),
    ],
)
def test_where_a_request_goes(uri: str, expected: dict[str, object]) -> None:
    assert attributes_of(Target("m", uri)) == {"inference.model": "m", **expected}
