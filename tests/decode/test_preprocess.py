"""``--preprocess``: what the function is given for each format, and what becomes of what it returns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.decode.test_decoder import UNKNOWN, outcomes, records, signature
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.codecs import UNKNOWN_INPUT
from transforms.formats.options import FormatOptions
from transforms.own_code import Function
from transforms.types import METHOD_CLASSIFY, DecodedChunk, Signature, TensorSpec

X = signature({"x": ("float32", (-1,))})
IMAGE = signature({"image": ("float32", (-1, 2, 2))})
TEXT = signature({"text": ("string", (-1,))})


def decoder(
    function: Function, of: Signature = X, input_format: str = "auto", keep: bool = False, **options: Any
) -> Decoder:
    return Decoder(of, input_format, keep_documents=keep, formats=FormatOptions(preprocess=function, **options))


def decode(function: Function, *values: bytes | None, **options: Any) -> DecodedChunk:
    return decoder(function, **options).decode(records(*values))


def rows_of(chunk: DecodedChunk, name: str = "x") -> dict[int, Any]:
    return {
        row: value
        for segment in chunk.segments
        for row, value in zip(segment.rows, segment.tensors[name].tolist(), strict=True)
    }


def test_the_inputs_are_what_the_function_returns() -> None:
    chunk = decode(
        lambda order: {"x": order["price"] * order["count"]}, b'{"price":2.5,"count":2}', b'{"price":1,"count":4}'
    )
    assert rows_of(chunk) == {0: 5.0, 1: 4.0}
    assert outcomes(chunk) == [[0, 1]]


def test_a_record_that_it_fails_on_touches_no_other() -> None:
    chunk = decode(lambda order: {"x": 1 / order["n"]}, b'{"n":2}', b'{"n":0}', b"{}", None, b"{", b'{"n":4}')
    assert rows_of(chunk) == {0: 0.5, 5: 0.25}
    classes = {row: failure.error_class for row, failure in chunk.failures.items()}
    assert classes == {1: "PreprocessError", 2: "PreprocessError", 3: "Tombstone", 4: "JsonError"}
    assert "raised ZeroDivisionError: division by zero (<lambda>, test_preprocess.py:" in chunk.failures[1].message
    assert "raised KeyError: 'n'" in chunk.failures[2].message


def test_what_it_returns_has_to_fit_the_model() -> None:
    chunk = decode(lambda order: order | {"x": order["x"] + "0"}, b'{"x":"1"}')
    assert chunk.failures[0].error_class == "FieldError"
    assert "x: expected float32, came a string" in chunk.failures[0].message


@pytest.mark.parametrize("value", [b"[1,2]", b"3", b"null", b'"text"'])
def test_json_without_fields_comes_as_value(value: bytes) -> None:
    seen: list[dict[str, Any]] = []

    def clean(record: dict[str, Any]) -> dict[str, Any]:
        seen.append(record)
        return {"x": 1}

    assert rows_of(decode(clean, value)) == {0: 1.0}
    assert seen == [{"value": json.loads(value)}]


def test_bytes_come_as_value_and_may_become_arrays() -> None:
    def pixels(record: dict[str, Any]) -> dict[str, Any]:
        return {"image": np.frombuffer(record["value"], np.uint8).reshape(2, 2) / np.float32(255)}

    chunk = decode(pixels, b"\x00\xff\x00\xff", b"", b"\xff", b"\xff\xff\xff\xff", of=IMAGE, input_format="bytes")
    assert rows_of(chunk, "image") == {0: [[0, 1], [0, 1]], 3: [[1, 1], [1, 1]]}
    assert {row: it.error_class for row, it in chunk.failures.items()} == {1: "EmptyValue", 2: "PreprocessError"}
    assert chunk.segments[0].tensors["image"].dtype == np.float32


def test_bytes_may_stay_bytes() -> None:
    chunk = decode(lambda record: {"text": record["value"][:2]}, b"abc", of=TEXT)
    assert rows_of(chunk, "text") == {0: b"ab"}


def test_arrays_and_plain_values_may_alternate() -> None:
    """And an array that does not fit is the dead letter of its record alone."""

    def clean(record: dict[str, Any]) -> dict[str, Any]:
        return {"x": {0: 1, 1: np.float64(2), 2: np.array([1, 2]), 3: [np.float32(3)], 4: np.int8(4)}[record["n"]]}

    chunk = decode(clean, *(b'{"n":%d}' % n for n in range(5)))
    assert rows_of(chunk) == {0: 1.0, 1: 2.0, 4: 4.0}
    assert {row: it.error_class for row, it in chunk.failures.items()} == {2: "FieldError", 3: "FieldError"}


def test_columns_of_numpy_numbers() -> None:
    chunk = decode(lambda r: {"x": [np.float32(r["a"]), 2]}, b'{"a":1}', of=signature({"x": ("float32", (-1, 2))}))
    assert rows_of(chunk) == {0: [1.0, 2.0]}


def test_features_are_picked_from_what_it_returns() -> None:
    chunk = decode(lambda record: {"deep": {"y": record["a"] + 1}}, b'{"a":1}', features=(("x", "$.deep.y"),))
    assert rows_of(chunk) == {0: 2.0}


def test_pass_through_and_merge_are_of_the_record_as_it_was() -> None:
    def clean(record: dict[str, Any]) -> dict[str, Any]:
        record["x"] = float(record.pop("id") > 1)
        return record

    big = b'{"id":123456789012345678901234567890}'
    assert decode(clean, big, pass_through=(("id", "$.id"),)).carried == [b'"id":123456789012345678901234567890']
    kept = decode(clean, b'{"id":7}', keep=True)
    assert kept.documents == [{"id": 7}]
    assert rows_of(kept) == {0: 1.0}


def test_windows_hold_for_arrays_too() -> None:
    own = Decoder(X, "json", 1.0, formats=FormatOptions(preprocess=lambda record: {"x": np.float32(record["n"])}))
    chunk = own.decode(records(b'{"n":1}', b'{"n":2}', b'{"n":3}', timestamps=[0, 1000, 500]))
    assert [list(segment.rows) for segment in chunk.segments] == [[0, 2], [1]]


def test_without_a_signature_it_is_sent_as_it_is() -> None:
    chunk = decode(lambda r: {"a": np.arange(2), "b": b"\xff", "c": r["c"]}, b'{"c":null}', of=UNKNOWN)
    assert chunk.segments[0].tensors[UNKNOWN_INPUT].tolist() == [{"a": [0, 1], "b": {"b64": "/w=="}, "c": None}]
    plain = decode(lambda r: {"value": r["value"]}, b"\xff", of=UNKNOWN, input_format="bytes")
    assert plain.segments[0].tensors[UNKNOWN_INPUT].tolist() == [{"value": {"b64": "/w=="}}]


@pytest.mark.parametrize(
    ("of", "input_format"),
    [
        (X, "npy"),
        (TEXT, "tf_example"),
        (Signature("s", METHOD_CLASSIFY, {"inputs": TensorSpec("string", (-1,))}, {}), "auto"),
    ],
)
def test_formats_that_are_not_given_to_functions(of: Signature, input_format: str) -> None:
    with pytest.raises(ContractError, match=r"^--preprocess: .*json, avro, protobuf or bytes"):
        decoder(dict, of, input_format)
