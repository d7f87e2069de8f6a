"""Texts of JSON answers, back as the bytes that they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.clients.wire.json import loads, text_bytes
from transforms.clients.wire.json_outputs import read_outputs
from transforms.errors import MalformedAnswerError
from transforms.types import METHOD_PREDICT, Signature, TensorSpec


@pytest.mark.parametrize("raw", [b"caf\xc3\xa9", b"\xff\xfe not UTF-8", b""])
def test_a_text_is_the_bytes_that_came(raw: bytes) -> None:
    assert text_bytes(loads(b'"%b"' % raw), "x") == raw


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\udbff", rb"\ude00 after \ud83d"])
def test_half_of_a_surrogate_pair_is_a_malformed_answer(escape: bytes) -> None:
    """It raised UnicodeEncodeError, which is no error of ours; found by the fuzzer."""
    document = loads(b'{"predictions": ["good", "%b"]}' % escape)
    with pytest.raises(MalformedAnswerError, match="element 1 has half of a surrogate pair"):
        read_outputs(document, Signature("", METHOD_PREDICT, {}, {"predictions": TensorSpec("string", (-1,))}))


def test_a_byte_order_mark_is_ignored() -> None:
    """.NET's servers write one."""
    assert loads(b'\xef\xbb\xbf{"y": [NaN]}').keys() == {"y"}
    assert loads(b"\xef\xbb\xbf[1]") == [1]


def test_integers_beyond_64_bits_of_an_answer() -> None:
    """As values they keep their digits; an output of numbers has its dtype, and refuses what does not fit."""
    document = loads(b'{"predictions": [12345678901234567890123, 1]}', exact=True)
    assert read_outputs(document, None)["predictions"] == [12345678901234567890123, 1]
    assert list(read_outputs({"outputs": document["predictions"]}, None)["predictions"]) == [12345678901234567890123, 1]
    for dtype in ("float32", "float64"):
        values = read_outputs(document, Signature("", METHOD_PREDICT, {}, {"predictions": TensorSpec(dtype, (-1,))}))
        assert list(values["predictions"]) == [np.dtype(dtype).type(12345678901234567890123), 1]
    for dtype in ("int64", "uint64"):
        with pytest.raises(MalformedAnswerError, match=f"does not fit the declared {dtype}"):
            read_outputs(document, Signature("", METHOD_PREDICT, {}, {"predictions": TensorSpec(dtype, (-1,))}))


@pytest.mark.parametrize(
    "values", [[2**63 + 1, 5], [2**63, -1], [2**53 + 1, 0.5], [[2**53 + 1], [0.5]], [-(2**53) - 1, 1e300], [2**70, 0.5]]
)
def test_integers_that_no_dtype_holds_with_their_neighbours_keep_their_digits(values: list[Any]) -> None:
    """Where nothing is declared: NumPy makes float64 of them all."""
    found = read_outputs({"outputs": values}, None)["predictions"]
    assert isinstance(found, np.ndarray)
    assert repr(found.tolist()) == repr(values)


@pytest.mark.parametrize(
    "values", [[2**53, 0.5], [1e300, -1e17], [float("inf"), 1], [float("nan"), 1.5], [[0.5], [1]], 1e300]
)
def test_numbers_that_float64_holds_are_float64(values: Any) -> None:
    found = read_outputs({"outputs": values}, None)["predictions"]
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.array(values, np.float64))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_an_integer_beyond_float64_is_a_malformed_answer(dtype: str) -> None:
    document = loads(b'{"outputs": {"y": [1, %b]}}' % (b"7" * 400))
    signature = Signature("", METHOD_PREDICT, {}, {"y": TensorSpec(dtype, (-1,))})
    with pytest.raises(MalformedAnswerError, match=f"^output y: has an integer beyond float64, .* declared {dtype}$"):
        read_outputs(document, signature)
