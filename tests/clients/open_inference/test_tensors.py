"""Tensors of the Open Inference Protocol: what goes out raw, typed or as JSON comes back the same; what can't is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.clients.open_inference import messages
from transforms.clients.open_inference.bodies import infer_body, read_answer
from transforms.clients.open_inference.model import columns_of
from transforms.clients.open_inference.tensors import (
    DTYPE_NAMES,
    datatype_of_array,
    dtype_name,
    elements,
    fill_contents,
    from_contents,
    from_data,
    from_raw,
    to_data,
    to_raw,
)
from transforms.clients.wire.bfloat16 import from_bfloat16, to_bfloat16
from transforms.clients.wire.json import dumps, loads
from transforms.errors import MalformedAnswerError

NUMERIC = tuple(name for name in DTYPE_NAMES if name not in ("BYTES", "BF16"))
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[str, ...] = (*NUMERIC, "BF16", "BYTES")) -> tuple[str, np.ndarray]:
    """A datatype and an array of it, of either byte order and contiguous or not."""
    datatype, shape = draw(st.sampled_from(datatypes)), draw(SHAPES)
    if datatype == "BYTES":
        values = draw(st.lists(st.binary(max_size=12), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return datatype, np.fromiter(values, dtype=object, count=len(values)).reshape(shape)
    if datatype == "BF16":
        bits = draw(hnp.arrays(np.uint16, shape))
        return datatype, from_bfloat16(to_bfloat16(from_bfloat16(bits)))
    dtype = np.dtype(DTYPE_NAMES[datatype]).newbyteorder(draw(st.sampled_from("<>")))
    array = draw(hnp.arrays(dtype, shape))
    return datatype, draw(st.sampled_from([array, array.T, array[..., ::-1] if array.ndim else array]))


def assert_same(read: np.ndarray, sent: np.ndarray) -> None:
    assert read.dtype == sent.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, sent)


@given(tensors())
@settings(max_examples=300, deadline=None)
def test_raw_round_trip(tensor: tuple[str, np.ndarray]) -> None:
    datatype, array = tensor
    assert datatype_of_array(array, datatype == "BF16") == datatype
    assert_same(from_raw(to_raw(array, datatype), datatype, array.shape, "x"), array)


@given(tensors(tuple(name for name in (*NUMERIC, "BYTES") if name != "FP16")))
@settings(max_examples=200, deadline=None)
def test_typed_contents_round_trip_over_the_wire(tensor: tuple[str, np.ndarray]) -> None:
    datatype, array = tensor
    sent = messages.InferTensorContents()
    fill_contents(sent, array, datatype)
    contents = messages.InferTensorContents.FromString(sent.SerializeToString())
    assert_same(from_contents(contents, datatype, array.shape, "x"), array)


@given(tensors(NUMERIC))
@settings(max_examples=300, deadline=None)
def test_json_round_trip(tensor: tuple[str, np.ndarray]) -> None:
    """Through the bytes of a body, with NaN and infinities bare; -0.0 and NaN included."""
    datatype, array = tensor
    body = dumps({"data": to_data(array, datatype)})
    assert_same(from_data(loads(body)["data"], datatype, array.shape, "x"), array)


@given(st.dictionaries(st.text(min_size=1, max_size=5), tensors(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_binary_body_is_read_back(named: dict[str, tuple[str, np.ndarray]]) -> None:
    """A request has the layout of an answer but for its name: inputs for outputs."""
    bfloat16 = frozenset(name for name, (datatype, _) in named.items() if datatype == "BF16")
    body, length = infer_body({name: array for name, (_, array) in named.items()}, bfloat16, binary=True)
    assert length is not None
    document = json.loads(body[:length])
    assert document["parameters"] == {"binary_data_output": True}
    header = json.dumps({"outputs": document["inputs"], "model_version": "5"}).encode()
    outputs, version = read_answer(header + body[length:], str(len(header)))
    assert version == "5"
    assert list(outputs) == sorted(named)
    for name, (_, array) in named.items():
        assert_same(outputs[name], array)


def test_string_is_another_word_for_bytes() -> None:
    """Of servers that write what the protocol does not have: as bytes, typed, and as JSON."""
    texts, contents = np.array([b"a", b""], object), messages.InferTensorContents(bytes_contents=[b"a", b""])
    assert dtype_name("STRING") == "string"
    assert_same(from_raw(to_raw(texts, "BYTES"), "STRING", [2], "x"), texts)
    assert_same(from_contents(contents, "STRING", [2], "x"), texts)
    assert_same(from_data(["a", ""], "STRING", [2], "x"), texts)


def test_bytes_have_a_length_each_little_endian() -> None:
    array = np.array([b"ab", b""], dtype=object)
    assert to_raw(array, "BYTES") == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    assert to_raw(np.array([1.0, -2.5], np.float32), "BF16") == struct.pack("<HH", 0x3F80, 0xC020)
    # Rounded to nearest, ties to even, not cut off: 1 + 3/512 lies nearer to 1 + 1/128, 1 + 1/256 in the middle.
    assert to_raw(np.array([1 + 3 / 512, 1 + 1 / 256], np.float32), "BF16") == struct.pack("<HH", 0x3F81, 0x3F80)


def test_text_of_any_kind_goes_as_utf8() -> None:
    assert elements(np.array(["ä", "b"])) == ["ä".encode(), b"b"]
    assert elements(np.array([b"a", "ä"], dtype=object)) == [b"a", "ä".encode()]
    with pytest.raises(TypeError, match="a float is neither text nor bytes"):
        elements(np.array([b"a", 1.5], dtype=object))


def test_an_array_without_a_datatype() -> None:
    with pytest.raises(TypeError, match="complex64 has no datatype"):
        datatype_of_array(np.zeros(1, np.complex64))


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "problem"),
    [
        (b"1234567", "FP32", [2], r"7 bytes, but \[2\] of FP32 takes 8"),
        (b"", "FP32", [-1], "not fully known"),
        (b"", "FP8", [0], "datatype FP8 can't be read"),
        (b"", "", [0], "datatype missing can't be read"),
        (b"\x01\x00", "BYTES", [1], "end within a length"),
        (b"\x05\x00\x00\x00ab", "BYTES", [1], "longer than what came"),
        (b"\x00\x00\x00\x00", "BYTES", [2], r"1 values for a shape of \[2\]"),
        (b"", "FP32", [2**62, 2**62, 0], "too large"),
    ],
)
def test_raw_that_does_not_fit(raw: bytes, datatype: str, shape: list[int], problem: str) -> None:
    with pytest.raises(MalformedAnswerError, match=f"output y: .*{problem}"):
        from_raw(raw, datatype, shape, "y")


@pytest.mark.parametrize(
    ("fields", "datatype", "shape", "problem"),
    [
        ({"fp32_contents": [1.0]}, "FP32", [2], r"1 values for a shape of \[2\]"),
        ({"fp64_contents": [1.0]}, "FP32", [1], "0 values for a shape of"),
        ({"int_contents": [300]}, "INT8", [1], "out of range for INT8"),
        ({"fp32_contents": [1.0]}, "FP16", [1], "FP16 came neither raw nor in a typed form"),
    ],
)
def test_typed_contents_that_do_not_fit(fields: dict[str, Any], datatype: str, shape: list[int], problem: str) -> None:
    with pytest.raises(MalformedAnswerError, match=f"output y: .*{problem}"):
        from_contents(messages.InferTensorContents(**fields), datatype, shape, "y")


@pytest.mark.parametrize(
    ("data", "datatype", "problem"),
    [
        ({"a": 1}, "FP32", "no list"),
        ([1, "2"], "FP32", "came with a string among"),
        ([1, True], "FP32", "came with a bool among"),
        ([1, 2.5], "INT32", "came with a number with a decimal point or an exponent among"),
        ([1, None], "INT32", "came with null among"),
        ([True, None], "BOOL", "came with null among"),
        ([1, 300], "UINT8", "out of range for UINT8"),
        ([1, -1], "UINT64", "out of range for UINT64"),
        ([1, 1.8446744073709552e19], "INT64", "a number is out of range for INT64"),
        ([-9.223372036854775808e18, 1], "UINT64", "a number is out of range for UINT64"),
        ([1e30, "2"], "INT64", "came with a number with a decimal point or an exponent, a string among"),
        ([1e30, 2.5], "INT64", "exponent among"),
        (["a", None], "BYTES", "came with null among"),
        ([1, 2, 3], "FP32", r"3 values for a shape of \[2\]"),
        ([[1], 2], "FP32", "nested to different depths"),
    ],
)
def test_json_that_does_not_fit(data: Any, datatype: str, problem: str) -> None:
    with pytest.raises(MalformedAnswerError, match=f"output y: .*{problem}"):
        from_data(data, datatype, [2], "y")


def test_json_data_may_be_nested_and_null_is_a_float_that_json_lacks() -> None:
    read = from_data([[1, None], [2.5, 1e300]], "FP32", [2, 2], "y")
    np.testing.assert_array_equal(read, np.array([[1, np.nan], [2.5, np.inf]], np.float32))


@pytest.mark.parametrize(
    "records",
    [
        [{"a": 1}, {"b": 1}],
        [{"a": 1}, [1]],
        [{}, {}],
        [[1, 2], [1]],
        [[1], ["a"]],
        [None, None],
        [True, 1],
        [2**70, 1],
        [{"a": {"b": 1}}, {"a": {"b": 2}}],
        [{"b64": "§"}, {"b64": "YQ=="}],
    ],
)
def test_records_that_share_no_tensor(records: list[Any]) -> None:
    """Refused before anything is sent: the caller halves the batch until they do, or until one is alone."""
    with pytest.raises(ValueError, match=r"."):
        columns_of(records)
