"""``--postprocess``: what the function is given, and that what it returns is what is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.encode.test_encoder import Outputs, encode, encoder, objects, records
from transforms.types import AnsweredSegment, OutputRecord, PredictedChunk


def written(function: Any, outputs: Outputs, originals: list[bytes] | None = None, **options: Any) -> list[bytes | None]:
    return [record.value for record in encode(encoder(postprocess=function, **options), outputs, originals)]


def headers(record: OutputRecord) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in record.headers}


def test_it_gets_what_would_be_written_and_what_it_returns_is_written() -> None:
    seen: list[dict[str, Any]] = []

    def verdict(prediction: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(prediction))
        return {"fraud": prediction["score"] > 0.5, **prediction}

    outputs = {"score": np.array([0.1, 0.9], np.float32), "text": objects(b"a", b"\xff")}
    assert written(verdict, outputs) == [
        b'{"fraud":false,"score":0.1,"text":"a"}',
        b'{"fraud":true,"score":0.9,"text":{"b64":"/w=="}}',
    ]
    assert seen[0] == {"score": 0.1, "text": "a"}


def test_a_record_that_it_fails_on_touches_no_other() -> None:
    def third(prediction: dict[str, Any]) -> Any:
        if prediction["y"] == 1:
            raise SystemExit(1)
        return {0: {"z": 1}, 2: None, 3: {"z": {1, 2}}, 4: {"z": object()}}[prediction["y"]]

    found = encode(encoder(postprocess=third), {"y": np.arange(5)})
    assert [record.failed_stage for record in found] == [None, "encode", "encode", "encode", "encode"]
    assert {headers(record)["inference.error.class"] for record in found[1:]} == {"PostprocessError"}
    says = [headers(record)["inference.error.message"] for record in found[1:]]
    assert "raised SystemExit: 1" in says[0]
    assert "returned None; a dict is needed" in says[1]
    assert "returned 'z', which can't be written as JSON: JSON has no form for set" in says[2]
    assert headers(found[1])["inference.error.attempts"] == "1"


class Sick(np.ndarray):
    def tolist(self) -> Any:
        raise MemoryError


def calls_for_too_much(prediction: dict[str, Any]) -> dict[str, Any]:
    raise MemoryError


def returns_too_much(prediction: dict[str, Any]) -> dict[str, Any]:
    return {"y": np.array([b"y"]).view(Sick)}


@pytest.mark.parametrize("function", [calls_for_too_much, returns_too_much])
def test_a_sick_process_is_no_records_fault(function: Any) -> None:
    """Neither where it is called, nor where what it returns is written."""
    with pytest.raises(MemoryError):
        encode(encoder(postprocess=function), {"y": np.arange(2)})


def test_it_may_return_numpy_values() -> None:
    def add(prediction: dict[str, Any]) -> dict[str, Any]:
        return {"a": np.float32(0.1), "b": np.array([[1, 2]]), "c": np.float64("nan"), "d": [np.int64(3)], "e": b"x"}

    assert written(add, {"y": np.zeros(1)}) == [b'{"a":0.1,"b":[[1,2]],"c":"NaN","d":[3],"e":"x"}']


def test_passed_fields_are_there_and_whole_numbers_keep_their_digits() -> None:
    def both(prediction: dict[str, Any]) -> dict[str, Any]:
        return {"sum": prediction["y"] + prediction["n"], **prediction}

    enc = encoder(postprocess=both, pass_through=("n",))
    chunk = PredictedChunk(
        records(b"{}"),
        [AnsweredSegment([0], {"y": np.array([1])}, "1", 1.0, 1)],
        {},
        carried=[b'"n":123456789012345678901234567890'],
    )
    [record] = enc.encode(chunk)
    assert record.value == b'{"sum":123456789012345678901234567891,"n":123456789012345678901234567890,"y":1}'
    chunk.carried = [b'"n":' + b"1" * 5000]
    [record] = enc.encode(chunk)
    assert "a number has thousands of digits" in headers(record)["inference.error.message"]


def test_it_stands_between_labels_and_merge() -> None:
    def shout(prediction: dict[str, Any]) -> dict[str, Any]:
        return {"label": prediction["label"].upper()}

    scores = {"scores": np.array([[0.2, 0.8]], np.float32)}
    assert written(shout, scores, [b'{"id":1}'], labels=["cat", "dog"], output_mode="merge") == [
        b'{"id":1,"prediction":{"label":"DOG"}}'
    ]


def test_a_prediction_that_it_makes_too_large_is_a_dead_letter() -> None:
    [record] = encode(encoder(postprocess=lambda p: {"x": "a" * 100}, max_value_bytes=50), {"y": np.zeros(1)})
    assert headers(record)["inference.error.class"] == "RecordTooLarge"


@pytest.mark.parametrize("name", ["nowhere:f", "json:nothing"])
def test_a_function_that_is_not_there_is_told_where_it_was_written(name: str) -> None:
    with pytest.raises(Exception, match=r"^--postprocess="):
        encoder(postprocess=name)
