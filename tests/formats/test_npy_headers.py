"""``.npy`` headers that would end the job if NumPy saw them: each is a dead letter that names the cause."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from tests.formats.decoding import classes, decode, rows_of, takes
from transforms.formats.npy import NpyError, read_npy
from transforms.types import TensorSpec

ANY_SHAPE = takes(x=TensorSpec("float32", None))
STRINGS = takes(x=TensorSpec("string", None))


def file(shape: str, descr: str = "'<f4'", order: str = "False", data: bytes = b"", major: int = 1) -> bytes:
    return raw(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}", data, major)


def raw(header: str, data: bytes = b"", major: int = 1) -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + bytes([major, 0]) + struct.pack("<H" if major == 1 else "<I", len(text)) + text + data


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (file(f"({'1, ' * 100})", data=bytes(4)), "100 dimensions"),
        (file(f"(0, {2**70})"), "--max_record_bytes"),
        (file(f"(0, {2**62}, {2**62})"), "--max_record_bytes"),
        (file(f"(0, {2**40})"), "--max_record_bytes"),
        (file(f"({10**15},)", "'|S0'"), "--max_record_bytes"),
        (file(f"({10**15},)", "'<U0'"), "--max_record_bytes"),
        (file("(True, 2)", data=bytes(8)), "is not a whole number"),
        (file("(1.0,)", data=bytes(4)), "is not a whole number"),
        (file("(-1,)", data=bytes(4)), "is not a whole number"),
        (file("(1, 2, (3,))", data=bytes(24)), "the 'shape' in its header can't be read"),
        (file("(3)", data=bytes(12)), "no tuple"),
        (file("[3]", data=bytes(12)), "the 'shape' in its header can't be read"),
        (file("(3,)", order="1", data=bytes(12)), "the 'fortran_order' in its header can't be read"),
        (file("(3,)", "'<f99999999999'", data=bytes(12)), "the dtype in its header is unknown"),
        (file("(3,)", "'<f3'", data=bytes(12)), "the dtype in its header is unknown"),
        (file("(3,)", "'f4,f4'", data=bytes(24)), "the dtype in its header is unknown"),
        (file("(3,)", "('<f4', (2,))", data=bytes(24)), "the 'descr' in its header can't be read"),
        (file("(3,)", "[('a', '<f4')]", data=bytes(12)), "a structured dtype"),
        (file("(3,)", "'|O'", data=bytes(24)), "pickle"),
        (file("(3,)", "'|V4'", data=bytes(12)), "kind 'V'"),
        (file("(3,)", "'<M8[ns]'", data=bytes(24)), "kind 'M'"),
        (raw("{'descr': '<f4', 'shape': (1,)}", bytes(4)), "no dict of"),
        (raw("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", bytes(4)), "no dict of"),
        (raw("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + exit()", bytes(4)), "no dict of"),
        (raw("(" * 4000, bytes(4)), "no dict of"),
        (raw("{" + " " * 9000, bytes(4)), "no dict of"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signature", [ANY_SHAPE, STRINGS])
def test_a_header_that_lies(value: bytes, says: str, signature: Any) -> None:
    """And nothing is allocated for what it claims."""
    tracemalloc.start()
    try:
        chunk = decode(signature, "npy", value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert classes(chunk) == {0: "NpyError"}
    assert says in chunk.failures[0].message
    assert peak < 1_000_000


def test_what_a_record_may_cost_is_what_it_costs_as_a_tensor() -> None:
    """Bytes as floats take four times their size; a string is an object of its own."""
    values = [file(f"({size},)", "'|u1'", data=bytes(size)) for size in (250, 251)]
    assert classes(decode(ANY_SHAPE, "npy", *values, max_record_bytes=1000)) == {1: "NpyError"}
    values = [file(f"({size},)", "'|S1'", data=b"a" * size) for size in (10, 11)]
    assert classes(decode(STRINGS, "npy", *values, max_record_bytes=640)) == {1: "NpyError"}


@pytest.mark.parametrize("major", [1, 2, 3])
def test_headers_as_other_writers_write_them(major: int) -> None:
    """The order of the keys, the quotes and the blanks are free; Python 2 wrote sizes with an L."""
    data = np.arange(6, dtype="<f4").tobytes()
    values = [
        raw('{"shape":(2,3),"fortran_order":False,"descr":"<f4"}', data, major),
        raw("{ 'descr' : 'float32' , 'shape' : ( 2L , 3L , ) , 'fortran_order' : False , }   ", data, major),
        raw("{'fortran_order': True, 'descr': '=f4', 'shape': (3, 2,)}", data, major),
    ]
    chunk = decode(ANY_SHAPE, "npy", *values)
    assert classes(chunk) == {}
    assert rows_of(chunk) == {0: [[0, 1, 2], [3, 4, 5]], 1: [[0, 1, 2], [3, 4, 5]], 2: [[0, 3], [1, 4], [2, 5]]}


_PIECES = ["{", "}", "'descr'", "'shape'", "'fortran_order'", ":", ",", "'<f4'", "'|b1'", "(", ")", "1", "2", "0", "True",
           "False", " ", "(1,)", "()", "'S0'", "[", "L", "-"]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=24).map("".join), st.binary(max_size=8))
def test_what_is_read_numpy_reads_as_well(header: str, data: bytes) -> None:
    """Nothing that NumPy refuses is taken, and what is taken is the same array."""
    value = raw(header, data)
    try:
        found = read_npy(value)
    except NpyError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2's headers
        np.testing.assert_array_equal(found, npy_format.read_array(io.BytesIO(value)))
