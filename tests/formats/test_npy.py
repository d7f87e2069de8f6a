""".npy records: shapes and dtypes by the rules that JSON's values are cast by, and files that are none."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.formats.decoding import UNKNOWN, classes, decode, records, rows_of, takes
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.casting import Caster, FieldMismatch
from transforms.formats.npy import NpyReader
from transforms.types import TensorSpec


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


MATRIX = takes(x=TensorSpec("float32", (-1, 2, 3)))
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


class Bomb:
    """Would end the test run if it were unpickled."""

    def __reduce__(self) -> Any:
        return (exec, ("import os; os._exit(9)",))


def test_files_that_are_none() -> None:
    good = npy(ARRAY)
    values = [
        good,
        None,
        b"",
        b"\x93NUMPY",
        good[:-1],
        good + b"\0",
        good[:40],
        b"PK\x03\x04",
        good.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09"),
        good.replace(b"(2, 3)", b"(2,-3)"),
        good.replace(b"(2, 3)", b"(2,99)"),
        npy(np.array([Bomb()], dtype=object), allow_pickle=True),
        pickle.dumps(Bomb()),
        npy(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])),
        npy(np.array(["2026-01-01"], dtype="datetime64[D]")),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(20_000),
        npy(np.asfortranarray(ARRAY)),
        npy(ARRAY.astype(">f8")),
    ]
    chunk = decode(MATRIX, "npy", *values)
    assert rows_of(chunk) == dict.fromkeys((0, 16, 17), ARRAY.tolist())
    assert classes(chunk) == {1: "Tombstone", 2: "EmptyValue"} | dict.fromkeys(range(3, 16), "NpyError")
    assert "pickle" in chunk.failures[11].message


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_tensor_or_a_failure(value: bytes) -> None:
    classes(decode(MATRIX, "npy", value, npy(ARRAY)[:10] + value, b"\x93NUMPY\x01\0\x40\0" + value.ljust(64)))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (ARRAY.T, "x: expected float32[2,3], came an array of shape [3,2]"),
        (ARRAY[np.newaxis], "came an array of shape [1,2,3]; a record is one row: leave the batch dimension out"),
        (np.float32(1), "came an array of shape []"),
        (ARRAY > 1, "came an array of bool"),
        (ARRAY.astype("S3"), "came an array of bytes24"),
        (ARRAY.astype(complex), "came an array of complex128"),
        (np.full((2, 3), 1e300), "out of range for float32"),
    ],
)
def test_arrays_that_do_not_fit(array: Any, says: str) -> None:
    chunk = decode(MATRIX, "npy", npy(array), npy(ARRAY))
    assert classes(chunk) == {0: "FieldError"}
    assert says in chunk.failures[0].message


def test_rows_of_one_shape_share_a_segment() -> None:
    signature = takes(x=TensorSpec("int64", (-1, -1)))
    chunk = decode(signature, "npy", *[npy(np.arange(size)) for size in (1, 2, 1, 3, 2)])
    assert [(list(segment.rows), segment.tensors["x"].shape) for segment in chunk.segments] == [
        ([0, 2], (2, 1)),
        ([1, 4], (2, 2)),
        ([3], (1, 3)),
    ]
    assert [segment.tensors["x"].dtype for segment in chunk.segments] == [np.int64] * 3


def test_strings() -> None:
    signature = takes(x=TensorSpec("string", (-1, -1)))
    chunk = decode(signature, "npy", npy(np.array(["é", "a"])), npy(np.array([b"\xff", b"a"])), npy(np.array([""])))
    assert rows_of(chunk) == {0: ["é".encode(), b"a"], 1: [b"\xff", b"a"], 2: [b""]}


def test_complex_numbers_which_json_does_not_have() -> None:
    """So a model with a complex input can be fed at all."""
    signature = takes(x=TensorSpec("complex64", (-1, -1)))
    chunk = decode(signature, "npy", npy(np.array([1 + 2j])), npy(np.array([1e300 + 0j])))
    assert rows_of(chunk) == {0: [1 + 2j]}
    assert classes(chunk) == {1: "FieldError"}


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (takes(a=TensorSpec("float32", (-1,)), b=TensorSpec("float32", (-1,))), "a, b"),
        (UNKNOWN, "no signature"),
    ],
)
def test_models_that_npy_does_not_fit(signature: Any, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        Decoder(signature, "npy")
    with pytest.raises(ContractError, match="--features: records of npy have no fields"):
        decode(MATRIX, "npy", features=(("x", "$.a"),))


DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


@given(
    st.sampled_from([*DTYPES, "bfloat16"]),
    st.sampled_from([*DTYPES, ">i4", ">f8"]).flatmap(lambda dtype: hnp.arrays(dtype, st.integers(0, 3))),
)
def test_an_array_fits_if_its_numbers_fit_as_json(wanted: str, array: np.ndarray) -> None:
    """The same values as JSON's numbers: the same tensor, or refused by both."""
    spec = TensorSpec(wanted, (-1, -1))
    try:
        expected: np.ndarray | None = Caster("x", spec).cast_one(array.tolist())[0]
    except FieldMismatch:
        expected = None
    try:
        found: np.ndarray | None = NpyReader("x", spec).read(npy(array))
    except FieldMismatch:
        found = None
    if array.size == 0:  # nothing in it is wrong as JSON, but here there is a dtype to compare
        return
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "fits", "beyond"),
    [
        ("int8", [127.0, -128.0], [128.0, -129.0]),
        ("int32", [2.0**31 - 1, -(2.0**31)], [2.0**31, -(2.0**31) - 1]),
        ("int64", [2.0**63 - 1024, -(2.0**63)], [2.0**63, -(2.0**63) - 2048]),
        ("uint8", [255.0, 0.0], [256.0, -1.0]),
        ("uint64", [2.0**64 - 2048], [2.0**64, -1.0]),
        ("float16", [65504.0], [65520.0]),
        ("bfloat16", [3.3895314e38], [3.3961776e38]),
        ("float32", [3.4028235e38], [3.4028236e38]),
    ],
)
def test_the_ends_of_the_ranges(dtype: str, fits: list[float], beyond: list[float]) -> None:
    """Numbers that came as floats; what is just beyond is refused, not wrapped nor made infinite."""
    signature = takes(x=TensorSpec(dtype, (-1,)))
    chunk = decode(signature, "npy", *[npy(np.float64(number)) for number in fits + beyond])
    assert list(rows_of(chunk)) == list(range(len(fits)))
    assert classes(chunk) == dict.fromkeys(range(len(fits), len(fits + beyond)), "FieldError")


def test_a_record_does_not_depend_on_its_neighbours() -> None:
    """And the decoder's chunk is in the order of the records."""
    chunk = Decoder(MATRIX, "npy").decode(records(*[npy(ARRAY + i) for i in range(5)]))
    [segment] = chunk.segments
    np.testing.assert_array_equal(segment.tensors["x"], np.stack([ARRAY + i for i in range(5)]))
