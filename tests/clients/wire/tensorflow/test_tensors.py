"""Arrays to ``TensorProto`` and back, with TensorFlow itself as the judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lazily import Lazily
from tests.lazily import tensorflow as tf
from transforms.clients.wire.tensorflow.messages import TensorProto
from transforms.clients.wire.tensorflow.tensors import DTYPE_NAMES, dtype_name, dtype_of, fill_tensor, read_tensor
from transforms.errors import MalformedAnswerError

tensor_pb2 = Lazily("tensorflow.core.framework.tensor_pb2")
NUMERIC = [name for name in DTYPE_NAMES.values() if name != "string"]


def values_of(dtype: str, count: int, seed: int) -> np.ndarray:
    """Random bits of a dtype, NaNs and all; TensorFlow's NumPy type for bfloat16."""
    random = np.random.default_rng(seed)
    numpy_dtype = tf.dtypes.as_dtype(dtype).as_numpy_dtype
    if dtype == "bool":
        return random.integers(0, 2, count).astype(bool)
    return np.frombuffer(random.bytes(count * np.dtype(numpy_dtype).itemsize), numpy_dtype)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and bool(
        np.array_equal(ours, theirs.astype(ours.dtype), equal_nan=ours.dtype.kind in "fc")
    )


@given(st.sampled_from(NUMERIC), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_tensorflow_writes_is_read(dtype: str, shape: list[int], seed: int, as_content: bool) -> None:
    array = values_of(dtype, int(np.prod(shape)), seed).reshape(shape)
    with np.errstate(invalid="ignore"):
        proto = tf.make_tensor_proto(array) if as_content else typed(array, dtype)
    assert same(read_tensor(TensorProto.FromString(proto.SerializeToString())), array)


def typed(array: np.ndarray, dtype: str) -> Any:
    """The typed form, which TensorFlow Serving answers with (Tensor::AsProtoField); Python's TensorFlow rarely does."""
    number = dtype_of(dtype)
    proto = tensor_pb2.TensorProto(dtype=number, tensor_shape=tf.TensorShape(array.shape).as_proto())
    flat = array.ravel()
    if dtype in ("float16", "bfloat16"):
        proto.half_val.extend(flat.view(np.uint16).tolist())
    elif dtype in ("complex64", "complex128"):
        part = np.float32 if dtype == "complex64" else np.float64
        getattr(proto, "scomplex_val" if dtype == "complex64" else "dcomplex_val").extend(flat.view(part).tolist())
    else:
        small = ("int8", "int16", "int32", "uint8", "uint16")
        field = {"float32": "float_val", "float64": "double_val"}.get(dtype, "int_val" if dtype in small else f"{dtype}_val")
        getattr(proto, field).extend(flat.tolist())
    return proto


@given(st.sampled_from(NUMERIC), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_what_we_write_tensorflow_reads(dtype: str, shape: list[int], seed: int) -> None:
    array = values_of(dtype, int(np.prod(shape)), seed).reshape(shape)
    ours = TensorProto()
    with np.errstate(invalid="ignore"):
        sent = array.astype(np.float32) if dtype == "bfloat16" else array
    fill_tensor(ours, sent, as_bfloat16=dtype == "bfloat16")
    proto = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    assert proto.HasField("tensor_shape")
    assert same(sent, tf.make_ndarray(proto))
    assert proto.dtype == dtype_of(dtype)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_bfloat16_is_rounded_as_tensorflow_does(values: list[float]) -> None:
    ours = TensorProto()
    fill_tensor(ours, np.array(values, np.float32), as_bfloat16=True)
    with np.errstate(over="ignore"):
        expected = tf.cast(np.array(values, np.float32), tf.bfloat16).numpy().astype(np.float32)
    np.testing.assert_array_equal(read_tensor(ours), expected)


@pytest.mark.parametrize("values", [[], [b"", b"\xff\x00", "ä".encode()]])
def test_strings(values: list[bytes]) -> None:
    array = np.array(values, dtype=object)
    ours = TensorProto()
    fill_tensor(ours, array)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    assert tf.make_ndarray(theirs).tolist() == values
    proto = tf.make_tensor_proto(values, tf.string)
    assert read_tensor(TensorProto.FromString(proto.SerializeToString())).tolist() == values


def test_text_is_sent_as_utf8() -> None:
    for array in (np.array(["ä", b"b"], dtype=object), np.array(["ä", "b"]), np.array([b"\xc3\xa4", b"b"])):
        ours = TensorProto()
        fill_tensor(ours, array)
        assert read_tensor(ours).tolist() == ["ä".encode(), b"b"]


def test_what_has_no_dtype_is_refused() -> None:
    with pytest.raises(TypeError):
        fill_tensor(TensorProto(), np.array(["2026-01-01"], dtype="datetime64[D]"))
    with pytest.raises(TypeError):
        fill_tensor(TensorProto(), np.array([object()], dtype=object))


@pytest.mark.parametrize(("values", "expected"), [([7.0], [7, 7, 7, 7]), ([1.0, 2.0], [1, 2, 2, 2]), ([], [0, 0, 0, 0])])
def test_the_last_value_repeats(values: list[float], expected: list[float]) -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=values, tensor_shape=tf.TensorShape([2, 2]).as_proto())
    ours = read_tensor(TensorProto.FromString(proto.SerializeToString()))
    assert ours.ravel().tolist() == expected == tf.make_ndarray(proto).ravel().tolist()


def test_the_last_string_repeats() -> None:
    proto = TensorProto(dtype=7, string_val=[b"a", b"b"])
    proto.tensor_shape.dim.add(size=3)
    assert read_tensor(proto).tolist() == [b"a", b"b", b"b"]


def test_fields_beside_the_values_do_not_disturb() -> None:
    """Reading packed bytes is a short cut that must know when it is none."""
    proto = TensorProto(dtype=1, float_val=[1, 2, 3], version_number=9, string_val=[b"x"])
    proto.tensor_shape.dim.add(size=3, name="named")
    assert read_tensor(proto).tolist() == [1, 2, 3]


def shaped(*sizes: int, **fields: Any) -> Any:
    proto = TensorProto(**fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "problem"),
    [
        (shaped(2, dtype=1, tensor_content=b"1234567"), "7 bytes of tensor_content"),
        (shaped(1, dtype=1, tensor_content=b"12345678"), "takes 4"),
        (shaped(2, dtype=1, float_val=[1, 2, 3]), "3 values for a shape of 2"),
        (shaped(0, dtype=1, float_val=[1]), "1 values for a shape of 0"),
        (shaped(1, dtype=7, string_val=[b"a", b"b"]), "2 values"),
        (shaped(-1, dtype=1), "not fully known"),
        (TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), "not fully known"),
        (shaped(1, dtype=20), "resource can't be read"),
        (shaped(1, dtype=0), "invalid can't be read"),
        (shaped(1, dtype=77), "can't be read"),
        (shaped(1, dtype=8, scomplex_val=[1, 2, 3, 4]), "2 values"),
        (shaped(2**40, dtype=1, float_val=[1]), "shape of 1099511627776"),
        (shaped(2**62, 2**62, dtype=7), "values for a shape"),
        (shaped(0, 2**62, 2**62, dtype=1), "too large"),
    ],
)
def test_sizes_that_do_not_fit(proto: Any, problem: str) -> None:
    with pytest.raises(MalformedAnswerError, match=f"output y: .*{problem}"):
        read_tensor(proto, "y")


def test_dtype_names() -> None:
    assert dtype_name(101) == "float32"  # a reference to a variable
    assert dtype_name(11) == "qint8"
    assert dtype_of("no such") == 0


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32"])
def test_quantised_numbers_are_the_integers_that_they_are_stored_as(kind: str) -> None:
    """As content, as TensorFlow writes them, and typed; the declared dtype has its own name."""
    quantised, limits = tf.dtypes.as_dtype(f"q{kind}"), np.iinfo(kind)
    stored = np.array([[limits.min, 0], [1, limits.max]], kind)
    theirs = tf.make_tensor_proto(stored.view(quantised.as_numpy_dtype), dtype=quantised)
    ours = TensorProto.FromString(theirs.SerializeToString())
    typed = TensorProto(dtype=ours.dtype, tensor_shape=ours.tensor_shape, int_val=stored.ravel().tolist())
    for message in (ours, typed):
        read = read_tensor(message)
        assert (read.dtype, read.tolist()) == (stored.dtype, stored.tolist())
    assert dtype_name(ours.dtype) == f"q{kind}"
