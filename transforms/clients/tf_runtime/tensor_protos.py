"""Converts ``tensorflow.TensorProto`` to NumPy arrays and back, as TensorFlow does on the server.

Source: ``Tensor::FromProto`` and ``Tensor::AsProtoField``. This module shares no code with ``wire/tensorflow/tensors.py``,
which converts for the clients: a mistake in shared code would cancel itself out in tests of a client against this server.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tf_runtime.session import DT_STRING, DTYPES

_FIELDS = {
    1: "float_val",
    2: "double_val",
    3: "int_val",
    4: "int_val",
    5: "int_val",
    6: "int_val",
    DT_STRING: "string_val",
    8: "scomplex_val",
    9: "int64_val",
    10: "bool_val",
    14: "half_val",
    17: "int_val",
    18: "dcomplex_val",
    19: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}
"""TensorFlow's DataType number to the field of ``TensorProto`` for typed values."""

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_MAX_ELEMENTS = 2**28
"""The highest number of elements of a tensor. Otherwise a small request with a large shape could use up the memory."""


def from_proto(proto: Any, name: str) -> np.ndarray:
    """Returns a ``TensorProto`` as an array.

    The values are in ``tensor_content`` or in the field for typed values. If there are fewer typed values than the shape has
    elements, the last one is repeated.

    Args:
        proto: The message.
        name: The name of the input, for the error message.

    Raises:
        ServingError: INVALID_ARGUMENT: the message is not a valid tensor.
    """
    dtype = DTYPES.get(proto.dtype)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    size = math.prod(shape)
    if dtype is None or proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or size > _MAX_ELEMENTS:
        raise invalid_argument(f"tensor parsing error: {name}")
    try:
        if not proto.tensor_content:
            return _from_values(proto, dtype, size).reshape(shape)
        if dtype.hasobject:
            return _from_string_content(proto.tensor_content, size).reshape(shape)
        return np.frombuffer(proto.tensor_content, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    except ValueError as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error


def _from_values(proto: Any, dtype: np.dtype, size: int) -> np.ndarray:
    values: Any = getattr(proto, _FIELDS[proto.dtype])
    if dtype.hasobject:
        flat = np.full(size, values[-1] if values else b"", dtype=object)
        flat[: min(len(values), size)] = values[:size]
        return flat
    if dtype.kind == "c":
        pairs = np.array(values, dtype=np.float64)
        found = (pairs[::2] + 1j * pairs[1::2]).astype(dtype)
    elif dtype in _HALVES:
        found = np.array(values, dtype=np.int64).astype(np.uint16).view(dtype)
    elif dtype.kind in "iu":
        found = np.array(values, dtype=np.uint64 if dtype.kind == "u" and dtype.itemsize == 8 else np.int64).astype(dtype)
    else:
        found = np.array(values, dtype=dtype)
    if len(found) >= size:
        return found[:size]
    fill = found[-1] if len(found) else dtype.type(0)
    return np.concatenate([found, np.full(size - len(found), fill, dtype=dtype)])


def _from_string_content(content: bytes, size: int) -> np.ndarray:
    """Reads the format of ``port::EncodeStringList``: the lengths of all strings as varints, then the bytes of all."""
    lengths, position = [], 0
    for _ in range(size):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 63:
                raise ValueError("a length is cut short")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("the lengths do not add up")
    flat = np.empty(size, dtype=object)
    for i, length in enumerate(lengths):
        flat[i] = content[position : position + length]
        position += length
    return flat


def fill_proto(array: np.ndarray, proto: Any, as_content: bool = False) -> None:
    """Writes an array into an empty ``TensorProto``.

    Args:
        array: An output of the model. Strings have dtype object, with ``bytes`` elements.
        proto: The message to fill.
        as_content: Whether numbers are written to ``tensor_content``, as TensorFlow Serving does with its flag
            ``--enable_serialization_as_tensor_content``. By default they are written as typed values. Strings always are.

    Raises:
        ServingError: INTERNAL: TensorFlow has no DataType for the array's dtype.
    """
    number = _NUMBERS.get(array.dtype)
    if number is None:
        raise ServingError(Code.INTERNAL, f"an array of {array.dtype} has no TensorFlow type")
    proto.dtype = number
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.reshape(-1)
    if as_content and number != DT_STRING:
        proto.tensor_content = flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()
        return
    if flat.dtype.kind == "c":
        flat = np.stack([flat.real, flat.imag], axis=-1).reshape(-1)
    elif flat.dtype in _HALVES:
        flat = flat.view(np.uint16)
    getattr(proto, _FIELDS[number]).extend(flat.tolist())
