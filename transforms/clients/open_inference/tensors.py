"""NumPy arrays to the Open Inference Protocol's tensors and back: raw bytes, typed contents (gRPC) and JSON data (REST).

In arrays, strings have dtype object and are ``bytes``; bfloat16 is float32, which holds it exactly. In raw BYTES, each
element is its length, 4 bytes little-endian, and then its bytes (Triton's extension binary_tensor_data).

Source: https://github.com/kserve/open-inference-protocol (tensor data types, raw_input_contents).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.clients.wire.bfloat16 import from_bfloat16, to_bfloat16
from transforms.clients.wire.json import text_bytes
from transforms.errors import MalformedAnswerError
from transforms.json_kinds import json_kind

DTYPE_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "string",
}
"""The protocol's datatypes to the names used in ``TensorSpec``."""

_ALIASES = {"STRING": "BYTES"}
"""Datatypes that the protocol does not have and servers write, to the one that they mean; requests have the protocol's."""

_DATATYPES = {dtype: datatype for datatype, dtype in DTYPE_NAMES.items()}

# The wire is little-endian on every machine. bfloat16 is sent as its 16 bits.
_WIRE = {
    datatype: np.dtype(np.uint16 if datatype == "BF16" else dtype).newbyteorder("<")
    for datatype, dtype in DTYPE_NAMES.items()
    if datatype != "BYTES"
}

# Datatype to its field of InferTensorContents and the dtype of that field. FP16 and BF16 have no field: they are always raw.
_CONTENTS: dict[str, tuple[str, Any]] = {
    "BOOL": ("bool_contents", np.bool_),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), ("uint_contents", np.uint32)),
    "UINT64": ("uint64_contents", np.uint64),
    **dict.fromkeys(("INT8", "INT16", "INT32"), ("int_contents", np.int32)),
    "INT64": ("int64_contents", np.int64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    "BYTES": ("bytes_contents", object),
}

_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}}
"""Kind of dtype to the Python types that JSON ``data`` may hold. For floats, see ``from_data``."""

_LENGTH = struct.Struct("<I")


def _meant(datatype: str) -> str:
    """The protocol's own name of a datatype that a server writes."""
    return _ALIASES.get(datatype, datatype)


def dtype_name(datatype: str) -> str:
    """Returns the ``TensorSpec`` name of a datatype. An unknown datatype is returned in lower case."""
    return DTYPE_NAMES.get(_meant(datatype), datatype.lower())


def datatype_of(dtype: str) -> str:
    """Returns the protocol's datatype for a ``TensorSpec`` dtype name. An unknown name is returned in upper case."""
    return _DATATYPES.get(dtype, dtype.upper())


def datatype_of_array(array: np.ndarray, as_bfloat16: bool = False) -> str:
    """Returns the datatype as which an array is sent.

    Args:
        array: Any array.
        as_bfloat16: Whether the model's input is bfloat16; numbers are then sent as BF16.

    Raises:
        TypeError: The protocol has no datatype for the array.
    """
    if array.dtype.kind in "OSU":
        return "BYTES"
    if as_bfloat16:
        return "BF16"
    if array.dtype.name not in _DATATYPES:
        raise TypeError(f"an array of {array.dtype} has no datatype in the Open Inference Protocol")
    return _DATATYPES[array.dtype.name]


def to_raw(array: np.ndarray, datatype: str) -> bytes:
    """Returns an array's raw bytes, row-major and little-endian; BYTES with their lengths.

    Args:
        array: Any shape. Strings: dtype object, of ``bytes`` or ``str`` (sent as UTF-8), or NumPy's ``S`` or ``U``.
        datatype: What ``datatype_of_array`` returned for it.

    Raises:
        TypeError: An element of a string array is neither bytes nor text.
    """
    if datatype == "BYTES":
        values = elements(array)
        return b"".join(itertools.chain.from_iterable((_LENGTH.pack(len(value)), value) for value in values))
    if datatype == "BF16":
        return to_bfloat16(array).tobytes()
    wire = _WIRE[datatype]
    return (array if array.dtype == wire else array.astype(wire)).tobytes()


def elements(array: np.ndarray) -> list[bytes]:
    """Returns the elements of a string array, row-major, as bytes.

    Raises:
        TypeError: One is neither bytes nor text.
    """
    values: list[Any] = array.ravel().tolist()
    if set(map(type, values)) <= {bytes}:
        return values
    for value in values:
        if not isinstance(value, bytes | str):
            raise TypeError(f"a {type(value).__name__} is neither text nor bytes")
    return [value.encode() if isinstance(value, str) else value for value in values]


def from_raw(raw: bytes | memoryview, datatype: str, shape: Sequence[int], name: str) -> np.ndarray:
    """Returns the array of raw bytes.

    Args:
        raw: The bytes.
        datatype: The protocol's datatype.
        shape: The shape.
        name: The name of the output, for error messages.

    Raises:
        MalformedAnswerError: The sizes do not match, or the datatype is unknown.
    """
    datatype = _meant(datatype)
    size = _size(shape, name)
    if datatype == "BYTES":
        return _strings(_split(raw, name), size, shape, name)
    wire = _wire(datatype, name)
    if len(raw) != size * wire.itemsize:
        expected = f"{list(shape)} of {datatype} takes {size * wire.itemsize}"
        raise MalformedAnswerError(f"output {name}: {len(raw)} bytes, but {expected}")
    flat = np.frombuffer(raw, wire)
    return _shaped(from_bfloat16(flat) if datatype == "BF16" else flat, shape, name)


def from_contents(contents: Any, datatype: str, shape: Sequence[int], name: str) -> np.ndarray:
    """Returns the array of an ``InferTensorContents`` message; for the arguments, see ``from_raw``.

    Raises:
        MalformedAnswerError: The number of values does not match the shape, or the datatype has no typed form.
    """
    datatype = _meant(datatype)
    if datatype not in _CONTENTS:
        raise MalformedAnswerError(f"output {name}: {datatype or 'no datatype'} came neither raw nor in a typed form")
    field, dtype = _CONTENTS[datatype]
    values, size = getattr(contents, field), _size(shape, name)
    if datatype == "BYTES":
        return _strings(list(values), size, shape, name)
    flat, wire = np.array(values[:], dtype), _WIRE[datatype]
    if wire.kind in "iu" and flat.size and not (flat.astype(wire) == flat).all():
        raise MalformedAnswerError(f"output {name}: a number is out of range for {datatype}")
    return _sized(flat.astype(wire), size, shape, name)


def fill_contents(contents: Any, array: np.ndarray, datatype: str) -> None:
    """Writes an array into an empty ``InferTensorContents`` message.

    Raises:
        KeyError: The datatype has no typed form: FP16 and BF16.
    """
    values = elements(array) if datatype == "BYTES" else array.ravel().tolist()
    getattr(contents, _CONTENTS[datatype][0]).extend(values)


def to_data(array: np.ndarray, datatype: str) -> Any:
    """Returns an array as the flat ``data`` of a JSON tensor: numbers as a NumPy array, strings as a list of text.

    Raises:
        ValueError: A string is not UTF-8: the protocol has no form for it in JSON.
    """
    if datatype == "BYTES":
        try:
            return [value.decode() for value in elements(array)]
        except UnicodeDecodeError as error:
            raise ValueError("a string is not UTF-8, which JSON can't carry") from error
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).ravel()


def from_data(data: Any, datatype: str, shape: Sequence[int], name: str) -> np.ndarray:
    """Returns the array of a JSON tensor.

    In a tensor of floats, null is read as NaN: servers that write standard JSON (MLServer, KServe) send null for NaN and for
        both
    infinities. In other tensors, null is an error.

    Args:
        data: A flat or nested list of values.
        datatype: The protocol's datatype.
        shape: The shape.
        name: The name of the output, for error messages.

    Raises:
        MalformedAnswerError: It is not a list of values of the datatype, or their number does not match the shape.
    """
    datatype = _meant(datatype)
    size = _size(shape, name)
    flat = _flattened(data, name)
    if datatype == "BYTES":
        return _strings([_text(value, name) for value in flat], size, shape, name)
    wire = _wire(datatype, name)
    if datatype == "BF16":
        wire = np.dtype("<f4")
    # The types are compared exactly, because Python's bool is a subclass of int.
    known = _JSON_TYPES.get(wire.kind, {int, float, type(None)})
    if set(map(type, flat)) - known:
        if wire.kind in "iu" and all(_beyond_64_bits(value) for value in flat if type(value) not in known):
            raise MalformedAnswerError(f"output {name}: a number is out of range for {datatype}")
        came = ", ".join(sorted({_kind(value, wire) for value in flat if type(value) not in known}))
        raise MalformedAnswerError(f"output {name}: {datatype} came with {came} among its values")
    try:
        with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite, as on the server
            return _sized(np.array(flat, wire), size, shape, name)
    except OverflowError as error:
        raise MalformedAnswerError(f"output {name}: a number is out of range for {datatype}") from error


def _beyond_64_bits(value: Any) -> bool:
    """Whether a value was perhaps an integer beyond 64 bits, of which the parser makes a float."""
    return type(value) is float and (value >= 2**64 or value <= -(2**63))


def _kind(value: Any, wire: np.dtype[Any]) -> str:
    kind = json_kind(value)
    return "a number with a decimal point or an exponent" if kind == "a number" and wire.kind in "iu" else kind


def _flattened(data: Any, name: str) -> list[Any]:
    if not isinstance(data, list):
        raise MalformedAnswerError(f"output {name}: its data are no list")
    level = data
    while level and isinstance(level[0], list):
        if not all(isinstance(part, list) for part in level):
            raise MalformedAnswerError(f"output {name}: its data are nested to different depths")
        level = list(itertools.chain.from_iterable(level))
    return level


def _text(value: Any, name: str) -> bytes:
    if not isinstance(value, str):
        raise MalformedAnswerError(f"output {name}: BYTES came with {json_kind(value)} among its values")
    return text_bytes(value, f"output {name}: an element")


def _split(raw: bytes | memoryview, name: str) -> list[bytes]:
    values, at, end = [], 0, len(raw)
    while at < end:
        if at + 4 > end:
            raise MalformedAnswerError(f"output {name}: its BYTES end within a length")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4 + length
        if at > end:
            raise MalformedAnswerError(f"output {name}: an element of its BYTES is longer than what came")
        values.append(bytes(raw[at - length : at]))
    return values


def _strings(values: list[bytes], size: int, shape: Sequence[int], name: str) -> np.ndarray:
    return _sized(np.fromiter(values, dtype=object, count=len(values)), size, shape, name)


def _wire(datatype: str, name: str) -> np.dtype[Any]:
    if datatype not in _WIRE:
        raise MalformedAnswerError(f"output {name}: datatype {datatype or 'missing'} can't be read")
    return _WIRE[datatype]


def _size(shape: Sequence[int], name: str) -> int:
    if min(shape, default=0) < 0:
        raise MalformedAnswerError(f"output {name}: its shape {list(shape)} is not fully known")
    return math.prod(shape)


def _sized(flat: np.ndarray, size: int, shape: Sequence[int], name: str) -> np.ndarray:
    if len(flat) != size:
        raise MalformedAnswerError(f"output {name}: {len(flat)} values for a shape of {list(shape)}")
    return _shaped(flat, shape, name)


def _shaped(flat: np.ndarray, shape: Sequence[int], name: str) -> np.ndarray:
    try:
        return flat.reshape(tuple(shape))
    except ValueError as error:  # a dimension too large for NumPy, together with one of 0
        raise MalformedAnswerError(f"output {name}: its shape {list(shape)} is too large") from error
