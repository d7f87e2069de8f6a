"""Features in memory → tensors: the rules of JSON records, for arrays."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_model import signature
from transforms.decode.features import FeatureDecoder
from transforms.formats.codecs import UNKNOWN_INPUT
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, Signature, TensorSpec


def row(spec: TensorSpec, value: Any) -> np.ndarray:
    """The tensor that a single value becomes."""
    [segment] = FeatureDecoder(Signature("s", METHOD_PREDICT, {"x": spec}, {})).decode([value]).segments
    return segment.tensors["x"]


def refusal(spec: TensorSpec, value: Any) -> str:
    """Why a single value is refused."""
    chunk = FeatureDecoder(Signature("s", METHOD_PREDICT, {"x": spec}, {})).decode([value])
    assert chunk.segments == []
    assert (chunk.failures[0].stage, chunk.failures[0].error_class) == ("decode", "FieldError")
    return chunk.failures[0].message


def test_rows_of_one_shape_share_a_segment_and_failures_leave_the_others_alone() -> None:
    decoder = FeatureDecoder(signature((-1, -1)))
    rows = [np.array([1, 2], np.float32), {"x": [3.0, 4.0]}, {"y": 1}, np.array([5], np.float32), "text", (6, 7)]
    chunk = decoder.decode(rows)
    assert [(list(segment.rows), segment.tensors["x"].tolist()) for segment in chunk.segments] == [
        ([0, 1, 5], [[1, 2], [3, 4], [6, 7]]),
        ([3], [[5]]),
    ]
    assert {row: failure.message for row, failure in chunk.failures.items()} == {
        2: "x: missing; expected float32[?]; features that came: y",
        4: "x: expected float32[?], came str32".replace("str32", np.asarray("text").dtype.name),
    }
    assert pickle.loads(pickle.dumps(decoder)).decode(rows).failures == chunk.failures


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", np.array([1.5, np.nan], np.float64), np.array([1.5, np.nan], np.float32)),
        ("float32", np.array([3], np.int64), np.array([3], np.float32)),
        ("bfloat16", [1.0], np.array([1], np.float32)),
        ("int32", np.array([-7], np.int64), np.array([-7], np.int32)),
        ("int64", [2.0], np.array([2], np.int64)),
        ("uint8", np.array([255], np.int64), np.array([255], np.uint8)),
        ("bool", [True, False], np.array([True, False])),
        ("complex64", [1.0], np.array([1], np.complex64)),
        ("float32", np.array([1.0], ">f4"), np.array([1], np.float32)),
    ],
)
def test_numbers_are_cast_where_nothing_is_lost(dtype: str, value: Any, expected: np.ndarray) -> None:
    found = row(TensorSpec(dtype, (-1, -1)), value)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected[np.newaxis])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", np.array([1e300], np.float64)),
        ("float32", [True]),
        ("float32", ["1"]),
        ("float32", [None]),
        ("float32", [[1], [2, 3]]),
        ("int32", [2**40]),
        ("int32", [1.5]),
        ("int64", np.array([np.nan])),
        ("uint8", [-1]),
        ("int64", np.array([2**63], np.uint64)),
        ("bool", [0, 1]),
        ("string", [1]),
        ("string", ["\ud800"]),
        ("string", [None]),
    ],
)
def test_what_would_change_is_refused_and_no_value_is_told(dtype: str, value: Any) -> None:
    message = refusal(TensorSpec(dtype, (-1, -1)), value)
    assert message.startswith("x: ")
    assert "1e+300" not in message


@given(st.integers(-(2**64), 2**64), st.sampled_from(["int8", "int32", "int64", "uint8", "uint16", "uint64"]))
def test_integers_are_exact_or_refused(number: int, dtype: str) -> None:
    info = np.iinfo(dtype)
    if info.min <= number <= info.max:
        assert row(TensorSpec(dtype, (-1,)), number).tolist() == [number]
    else:
        refusal(TensorSpec(dtype, (-1,)), number)


def test_strings_keep_every_byte() -> None:
    assert row(TensorSpec("string", (-1,)), b"a\0\0").tolist() == [b"a\0\0"]
    assert row(TensorSpec("string", (-1,)), "ä").tolist() == ["ä".encode()]
    assert row(TensorSpec("string", (-1, 2)), ["a", b"b"]).tolist() == [[b"a", b"b"]]


def test_shapes() -> None:
    assert row(TensorSpec("float32", (-1, 2, -1)), np.zeros((2, 3))).shape == (1, 2, 3)
    assert row(TensorSpec("float32", None), np.zeros((2, 3))).shape == (1, 2, 3)
    assert row(TensorSpec("float32", ()), 1.0).shape == (1,)
    assert "expected float32[2,?], came an array of shape [3,3]" in refusal(
        TensorSpec("float32", (-1, 2, -1)), np.zeros((3, 3))
    )
    assert "leave the batch dimension out" in refusal(TensorSpec("float32", (-1, 2)), np.zeros((1, 2)))


def test_several_inputs_and_defaults() -> None:
    served = signature((-1,), "float32", t=TensorSpec("string", (-1,)), d=TensorSpec("int32", (-1,), has_default=True))
    decoder = FeatureDecoder(served)
    chunk = decoder.decode([{"x": 1.0, "t": b"a", "more": 2}, {"x": 1.0, "t": "b", "d": 5}, 3.0])
    assert [sorted(segment.tensors) for segment in chunk.segments] == [["t", "x"], ["d", "t", "x"]]
    assert "expected a mapping of the inputs x: float32[?], t: string[?]" in chunk.failures[2].message


def test_examples_are_bytes_or_messages() -> None:
    class Message:
        def SerializeToString(self) -> bytes:
            return b"example"

    served = Signature("s", METHOD_CLASSIFY, {"inputs": TensorSpec("string", (-1,))}, {})
    chunk = FeatureDecoder(served).decode([b"raw", Message(), {"inputs": b"named"}, 5])
    [segment] = chunk.segments
    assert segment.tensors["inputs"].tolist() == [b"raw", b"example", b"named"]
    assert list(chunk.failures) == [3]


def test_without_a_signature_rows_go_as_json() -> None:
    decoder = FeatureDecoder(Signature("", METHOD_PREDICT, {}, {}, known=False))
    chunk = decoder.decode([{"x": np.array([1, 2], np.float32), "n": np.int64(3)}, b"raw", [1, (2,)], {"x": object()}])
    [segment] = chunk.segments
    assert segment.tensors[UNKNOWN_INPUT].tolist() == [{"x": [1.0, 2.0], "n": 3}, {"b64": "cmF3"}, [1, [2]]]
    assert list(chunk.failures) == [3]
