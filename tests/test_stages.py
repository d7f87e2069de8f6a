"""The stages inside a Beam pipeline: decode, batch, predict, encode, dead letters, on the runner that the job uses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…
from apache_beam.testing.util import assert_that, equal_to

from tests.beam_run import run
from tests.fake_model import Call, FakeModel, doubled, serving, signature
from transforms.coders import OutputChunk, RecordChunk
from transforms.errors import ContractError, RejectedError
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.stages import DecodeChunks, DecodeConfig, EncodeChunks, EncodeConfig
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import (
    AnsweredSegment,
    DecodedChunk,
    Failure,
    KafkaRecord,
    ModelMetadata,
    OutputRecord,
    PredictedChunk,
    Signature,
)

SIGNATURE = signature((-1, -1))


def record(offset: int, value: Any, partition: int = 0, timestamp_ms: int | None = 1_000) -> KafkaRecord:
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return KafkaRecord("in", partition, offset, timestamp_ms, b"k%d" % offset, raw, [("h", b"1")])


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(served=SIGNATURE)


@pytest.fixture
def uri(model: FakeModel) -> Iterator[str]:
    with serving(model) as uri:
        yield uri


# ---------------------------------------------------------------------- decode


def test_decode() -> None:
    records = RecordChunk([record(0, [1.0, 2.0]), record(1, None), record(2, {"x": [3, 4]}), record(3, b"{")])

    def check(chunks: list[DecodedChunk]) -> None:
        [chunk] = chunks
        assert chunk.records == records
        [segment] = chunk.segments
        assert list(segment.rows) == [0, 2]
        assert segment.tensors["x"].tolist() == [[1, 2], [3, 4]]
        assert {row: failure.error_class for row, failure in chunk.failures.items()} == {1: "Tombstone", 3: "JsonError"}
        assert chunk.documents is None

    run([records], lambda chunks: chunks | beam.ParDo(DecodeChunks(DecodeConfig(SIGNATURE))), check)


def test_decode_keeps_the_documents_where_they_are_merged() -> None:
    def check(chunks: list[DecodedChunk]) -> None:
        assert chunks[0].documents == [{"x": [1]}]

    config = DecodeConfig(SIGNATURE, keep_documents=True)
    run([RecordChunk([record(0, {"x": [1]})])], lambda chunks: chunks | beam.ParDo(DecodeChunks(config)), check)


def test_a_format_that_does_not_fit_is_known_before_the_pipeline_runs() -> None:
    with pytest.raises(ContractError):
        DecodeConfig(signature((-1,), "float32"), "tf_example").decoder()


# ---------------------------------------------------------------------- batch and predict


def predict(uri: str, served: Signature = SIGNATURE, size: int = 4, **options: Any) -> beam.ParDo:
    dispatch = DispatchOptions(retry=RetryPolicy(0.05, 0.001, 0.002), **options)
    return beam.ParDo(
        PredictChunks(PredictConfig(uri, ModelMetadata("fake", "7", served), dispatch=dispatch, batch_max_size=size))
    )


def decode_and_predict(uri: str, window_seconds: float | None = None, **options: Any) -> Callable[[Any], Any]:
    decode = DecodeChunks(DecodeConfig(SIGNATURE, window_seconds=window_seconds))
    return lambda chunks: chunks | beam.ParDo(decode) | predict(uri, **options)


def chunks_of(sizes: list[int]) -> list[RecordChunk]:
    first = 0
    chunks = []
    for size in sizes:
        chunks.append(RecordChunk([record(offset, [offset]) for offset in range(first, first + size)]))
        first += size
    return chunks


def test_batches_are_full_across_chunks_and_results_keep_the_order(model: FakeModel, uri: str) -> None:
    def check(chunks: list[PredictedChunk]) -> None:
        assert [[record.offset for record in chunk.records] for chunk in chunks] == [[0, 1, 2], [3, 4, 5, 6, 7], [8], [9]]
        for chunk in chunks:
            for answer in chunk.answers:
                values = [chunk.records[row].offset for row in answer.rows]
                assert [row.tolist() for row in answer.outputs["y"]] == [[2 * value] for value in values]
                assert (answer.version, answer.attempts) == ("7", 1)

    run(chunks_of([3, 5, 1, 1]), decode_and_predict(uri), check)
    assert sorted(call.rows for call in model.calls) == [2, 4, 4]


def test_shapes_are_never_mixed_in_a_request(model: FakeModel, uri: str) -> None:
    records = RecordChunk([record(offset, [offset] * (1 + offset % 3)) for offset in range(12)])

    def check(chunks: list[PredictedChunk]) -> None:
        rows = sorted(row for answer in chunks[0].answers for row in answer.rows)
        assert rows == list(range(12))
        assert chunks[0].failures == {}

    run([records], decode_and_predict(uri), check)
    assert [call.inputs["x"].shape for call in sorted(model.calls, key=lambda call: call.inputs["x"].shape[1])] == [
        (4, 1),
        (4, 2),
        (4, 3),
    ]


def test_windows_are_never_mixed_in_a_request(model: FakeModel, uri: str) -> None:
    """Ten records of each of two seconds, in batches of up to 64: one request a window, though all would fit in one."""
    records = [record(offset, [offset], timestamp_ms=1_000 * (offset % 2) + offset) for offset in range(20)]
    chunks = [RecordChunk(records[:7]), RecordChunk(records[7:])]

    def check(found: list[PredictedChunk]) -> None:
        assert sum(len(answer.rows) for chunk in found for answer in chunk.answers) == 20

    run(chunks, decode_and_predict(uri, window_seconds=1.0, size=64), check)
    windows = [sorted({int(value) % 2 for value in call.inputs["x"][:, 0]}) for call in model.calls]
    assert sorted(windows) == [[0], [1]]


def test_a_guilty_record_is_a_failure_and_no_other_is(model: FakeModel, uri: str) -> None:
    async def behave(call: Call) -> Any:
        if 5.0 in call.inputs["x"]:
            raise RejectedError("INVALID_ARGUMENT: bad row")
        return await doubled(call)

    model.behaviour = behave

    def check(chunks: list[PredictedChunk]) -> None:
        failures = {chunk.records[row].offset: failure for chunk in chunks for row, failure in chunk.failures.items()}
        assert list(failures) == [5]
        assert (failures[5].stage, failures[5].error_class, failures[5].attempts) == ("predict", "Rejected", 3)
        assert sum(len(answer.rows) for chunk in chunks for answer in chunk.answers) == 9

    run(chunks_of([3, 5, 1, 1]), decode_and_predict(uri), check)


def test_an_error_that_ends_the_job_ends_the_pipeline(model: FakeModel, uri: str) -> None:
    async def down(call: Call) -> Any:
        raise TimeoutError("not a model error")

    model.behaviour = down
    with pytest.raises(TimeoutError, match="not a model error"):
        run(chunks_of([3]), decode_and_predict(uri), lambda _: None)


# ---------------------------------------------------------------------- encode and dead letters

ENCODE = EncodeConfig("out", "dlq", "fake")


def test_encode_writes_predictions_and_dead_letters_in_the_order_of_the_input() -> None:
    chunk = PredictedChunk(
        [record(0, [1]), record(1, [2]), record(2, [3])],
        [AnsweredSegment([0, 2], {"y": [2.0, 6.0]}, "7", 1.25, 2)],
        {1: Failure("predict", "Rejected", "bad row", 3)},
    )

    def check(lists: list[list[OutputRecord]]) -> None:
        [outputs] = lists
        assert [output.source for output in outputs] == [("in", 0, 0), ("in", 0, 1), ("in", 0, 2)]
        assert [(output.topic, output.failed_stage) for output in outputs] == [
            ("out", None),
            ("dlq", "predict"),
            ("out", None),
        ]
        assert [output.key for output in outputs] == [b"k0", b"k1", b"k2"]
        assert json.loads(outputs[0].value or b"") == {"y": 2.0}
        assert dict(outputs[0].headers) == {
            "h": b"1",
            "inference.model": b"fake",
            "inference.version": b"7",
            "inference.source": b"in/0/0",
            "inference.latency_ms": b"1.2",
            "inference.attempts": b"2",
        }
        assert outputs[1].value == b"[2]", "the original, untouched"
        assert dict(outputs[1].headers) == {
            "h": b"1",
            "inference.error.stage": b"predict",
            "inference.error.class": b"Rejected",
            "inference.error.message": b"bad row",
            "inference.error.attempts": b"3",
            "inference.source": b"in/0/1",
        }

    run([chunk], lambda chunks: chunks | beam.ParDo(EncodeChunks(ENCODE)), check)


def test_a_chunk_that_lost_a_row_ends_the_pipeline() -> None:
    """Rather than a record without an outcome."""
    chunk = PredictedChunk([record(0, [1]), record(1, [2])], [AnsweredSegment([0], {"y": [2.0]}, "7", 1, 1)], {})
    with pytest.raises(ValueError, match="2 records, but 1 outcomes"):
        run([chunk], lambda chunks: chunks | beam.ParDo(EncodeChunks(ENCODE)), lambda _: None)


# ---------------------------------------------------------------------- the whole, against a server


def test_the_stages_together_over_grpc() -> None:
    """Every kind of record at once, through a real server: a dead letter of each stage, and predictions between."""
    values: list[Any] = [[1, 2], None, b"", b"{", [3], ["text"], [666], {"x": [4]}, {"y": [4]}, [5, 6]]
    records = [record(offset, value) for offset, value in enumerate(values)]

    def check(lists: list[Any]) -> None:
        found = [(output.source[2], output.failed_stage, output.value) for outputs in lists for output in outputs]
        assert [source for source, _, _ in found] == list(range(10))
        classes = [dict(output.headers).get("inference.error.class", b"") for outputs in lists for output in outputs]
        assert classes == [
            b"", b"Tombstone", b"EmptyValue", b"JsonError", b"", b"FieldError", b"Rejected", b"", b"FieldError", b"",
        ]  # fmt: skip
        assert found[0][2] == b'{"y":[2.5,3.0]}'
        assert found[4][2] == b'{"y":[3.5]}'

    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: 666 in row["x"]
        metadata = ModelMetadata("model", "1", signature((-1, -1)))
        run(
            [RecordChunk(records[:4]), RecordChunk(records[4:])],
            lambda chunks: (
                chunks
                | "Decode" >> beam.ParDo(DecodeChunks(DecodeConfig(metadata.signature)))
                | "Predict" >> beam.ParDo(PredictChunks(PredictConfig(stub.uri(), metadata)))
                | "Encode" >> beam.ParDo(EncodeChunks(ENCODE)).with_output_types(OutputChunk)
            ),
            check,
        )


def test_equal_to_is_strict() -> None:
    """The checks above count: assert_that fails the pipeline when what comes out differs."""
    with pytest.raises(Exception, match="Failed assert"), BeamPipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create([1], reshuffle=False), equal_to([2]))
