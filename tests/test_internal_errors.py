"""What nobody foresaw, in decode, predict and encode: the guilty record is a dead letter, the rest is answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from tests.beam_run import run
from tests.fake_model import Call, FakeModel, doubled, serving, signature
from transforms import internal_errors
from transforms.coders import OutputChunk, RecordChunk
from transforms.decode.decoder import Decoder
from transforms.decode.features import FeatureDecoder
from transforms.errors import ContractError
from transforms.formats.options import FormatOptions
from transforms.formats.registry import RegisteredSchema
from transforms.formats.schemas import FramedAvro
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.stages import DecodeChunks, DecodeConfig, EncodeChunks, EncodeConfig
from transforms.types import Answer, KafkaRecord

SECRET = "the payload"
SIGNATURE = signature((-1, -1))


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    internal_errors._told.clear()
    yield
    internal_errors._told.clear()


class Cursed(bytes):
    """A value on which the decoder raises."""

    error: Exception = ZeroDivisionError(SECRET)

    def __bool__(self) -> bool:
        raise self.error


class CursedArray(np.ndarray):
    """An output on which the encoder raises."""

    def tolist(self) -> Any:
        raise ZeroDivisionError(SECRET)


def records(*values: bytes) -> list[KafkaRecord]:
    return [KafkaRecord("in", 0, offset, 1_000, b"k", value, []) for offset, value in enumerate(values)]


def answers(call: Call) -> list[float]:
    return [float(row[0]) for row in call.inputs["x"]]


@pytest.mark.parametrize("stage", ["decode", "predict", "encode"])
def test_the_guilty_record_of_a_pipeline_is_a_dead_letter(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing of the record is in the dead letter's headers, or in the log."""

    async def behaviour(call: Call) -> Answer:
        if stage == "predict" and 3.0 in answers(call):
            raise KeyError(SECRET)
        answer = await doubled(call)
        if stage == "encode":
            column: list[Any] = list(answer.outputs["y"])
            column = [y.view(CursedArray) if y[0] == 6.0 else y for y in column]
            return Answer({"y": column}, "7")
        return answer

    values = [b"[%d]" % number for number in range(8)]
    if stage == "decode":
        values[3] = Cursed(b"[3]")
    model = FakeModel(behaviour, SIGNATURE)
    dispatch = DispatchOptions(retry=RetryPolicy(0.01, 0.001, 0.001))
    with serving(model) as uri, caplog.at_level(logging.ERROR, "transforms.internal_errors"):
        predict = PredictConfig(uri, model.metadata, dispatch=dispatch, batch_max_size=4)

        def check(chunks: list[OutputChunk]) -> None:
            written = [record for chunk in chunks for record in chunk]
            assert [record.source[2] for record in written] == list(range(8))
            assert [record.value for record in written if record.failed_stage is None] == [
                b'{"y":[%.1f]}' % (2 * number) for number in range(8) if number != 3
            ]
            headers = dict(written[3].headers)
            assert headers["inference.error.stage"] == stage.encode()
            assert headers["inference.error.class"] == b"InternalError"
            message = (headers["inference.error.message"] or b"").decode()
            assert ("KeyError" if stage == "predict" else "ZeroDivisionError") in message
            assert "test_internal_errors.py" in message
            assert SECRET not in message

        run(
            [RecordChunk(records(*values))],
            lambda chunks: (
                chunks
                | "Decode" >> beam.ParDo(DecodeChunks(DecodeConfig(SIGNATURE)))
                | "Predict" >> beam.ParDo(PredictChunks(predict))
                | "Encode" >> beam.ParDo(EncodeChunks(EncodeConfig("out", "dead", "m")))
            ),
            check,
        )
    said = [entry.getMessage() for entry in caplog.records if entry.name == "transforms.internal_errors"]
    assert len(said) == 1
    assert "please report it" in said[0]
    assert SECRET not in said[0]


def test_it_is_said_once_for_each_place(caplog: pytest.LogCaptureFixture) -> None:
    decoder = Decoder(SIGNATURE)
    with caplog.at_level(logging.ERROR, "transforms.internal_errors"):
        for _ in range(3):
            chunk = decoder.decode(records(b"[1]", Cursed(b"[2]"), Cursed(b"[3]"), b"x"))
            assert {row: failure.error_class for row, failure in chunk.failures.items()} == {
                1: "InternalError", 2: "InternalError", 3: "JsonError",
            }  # fmt: skip
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), ContractError("x"), ImportError()])
def test_what_says_that_the_process_is_sick_is_raised(error: Exception) -> None:
    class Other(Cursed):
        pass

    Other.error = error
    with pytest.raises(type(error)):
        Decoder(SIGNATURE).decode(records(b"[1]", Other(b"[2]")))


def test_what_is_kept_beside_the_tensors_is_that_of_the_row() -> None:
    formats = FormatOptions(pass_through=(("id", "$.id"),))
    decoder = Decoder(SIGNATURE, "json", keep_documents=True, formats=formats)
    good = [b'{"x": [%d], "id": %d}' % (number, number) for number in range(4)]
    chunk = decoder.decode(records(good[0], Cursed(good[1]), b"{", good[3]))
    assert [record.offset for record in chunk.records] == [0, 1, 2, 3]
    assert (chunk.documents or [])[3] == {"x": [3], "id": 3}
    assert chunk.carried == [b'"id":0', b"", b"", b'"id":3']
    assert [(list(segment.rows), segment.tensors["x"].tolist()) for segment in chunk.segments] == [
        ([0], [[0.0]]),
        ([3], [[3.0]]),
    ]
    assert {row: failure.error_class for row, failure in chunk.failures.items()} == {1: "InternalError", 2: "JsonError"}


def test_features_in_memory() -> None:
    class CursedFeature:
        def __array__(self, *args: Any, **options: Any) -> Any:
            raise ZeroDivisionError(SECRET)

    chunk = FeatureDecoder(SIGNATURE).decode([[1.0], CursedFeature(), [2.0]])
    assert {row: failure.error_class for row, failure in chunk.failures.items()} == {1: "InternalError"}
    assert [list(segment.rows) for segment in chunk.segments] == [[0], [2]]


def test_a_schema_that_our_code_raises_on() -> None:
    class Framed(FramedAvro):
        def _open(self, schema: RegisteredSchema) -> Any:
            raise ZeroDivisionError(SECRET)

    framed = Framed()
    framed.learn(7, RegisteredSchema("AVRO", '"string"'))
    decoder = Decoder(SIGNATURE, "avro", open_reader=lambda *_: framed)
    chunk = decoder.decode(records(b"\0\0\0\0\x07abc"))
    assert chunk.failures[0].error_class == "InternalError"
    assert SECRET not in chunk.failures[0].message
