"""Converts NumPy arrays to TensorFlow's ``TensorProto`` and back, for clients.

Source: tensorflow/core/framework/tensor.proto and ``Tensor::FromProto`` in tensorflow/core/framework/tensor.cc.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transforms.answer_body import MAX_ANSWER_BYTES, RAISE_LIMIT
from transforms.clients.wire.bfloat16 import from_bfloat16, to_bfloat16
from transforms.clients.wire.tensorflow.messages import DATA_TYPES, TensorProto
from transforms.errors import AnswerTooLargeError, MalformedAnswerError

_NAMES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_BFLOAT16": "bfloat16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "string",
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
}

DTYPE_NAMES = {DATA_TYPES[name]: dtype for name, dtype in _NAMES.items()}
"""TensorFlow's dtype number to the name used in ``TensorSpec``."""

_QUANTISED = {DATA_TYPES[f"DT_Q{kind}"]: DATA_TYPES[f"DT_{kind}"] for kind in ("INT8", "UINT8", "INT16", "UINT16", "INT32")}
"""Quantised dtypes to those of their stored values: an answer has the values, the scale is outputs of its own."""

_DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPE_NAMES.items()}
_STRING = _DTYPE_NUMBERS["string"]
_BFLOAT16 = _DTYPE_NUMBERS["bfloat16"]

# Little-endian on the wire whatever the machine. bfloat16, which NumPy lacks, travels as its 16 bits.
_WIRE = {
    number: np.dtype(np.uint16 if dtype == "bfloat16" else dtype).newbyteorder("<")
    for number, dtype in DTYPE_NAMES.items()
    if dtype != "string"
}
_NUMBER_OF = {wire: number for number, wire in _WIRE.items() if number != _BFLOAT16}

# Which repeated field holds the values when tensor_content does not, and the wire type its packed bytes have; None where
# they are varints.
_FLOATS = {
    "float32": ("float_val", "<f4"),
    "float64": ("double_val", "<f8"),
    "complex64": ("scomplex_val", "<f4"),
    "complex128": ("dcomplex_val", "<f8"),
    "bool": ("bool_val", "?"),
}
_VARINTS = {
    "float16": "half_val",
    "bfloat16": "half_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
}
_POINTER_BYTES = 8  # of an element of dtype object

_FIELDS: dict[int, tuple[str, str | None]] = {
    **{_DTYPE_NUMBERS[dtype]: field for dtype, field in _FLOATS.items()},
    **{_DTYPE_NUMBERS[dtype]: (field, None) for dtype, field in _VARINTS.items()},
}


def dtype_name(number: int) -> str:
    """Returns the dtype name of a ``TensorSpec`` for a number of TensorFlow's ``DataType``.

    Dtypes that clients can't send have names too, such as ``qint8``, for messages.
    """
    number %= 100  # a reference to a variable is its number plus 100; the value sent is the same
    if number in DTYPE_NAMES:
        return DTYPE_NAMES[number]
    names = {value: name for name, value in DATA_TYPES.items()}
    return names.get(number, f"DT_{number}").removeprefix("DT_").lower()


def dtype_of(name: str) -> int:
    """Returns the number of TensorFlow's ``DataType`` for a dtype name of a ``TensorSpec``; 0 for an unknown name."""
    return _DTYPE_NUMBERS.get(name, 0)


def fill_tensor(tensor: Any, array: np.ndarray, as_bfloat16: bool = False) -> None:
    """Writes an array into an empty ``TensorProto``: numbers to ``tensor_content``, strings to ``string_val``.

    Args:
        tensor: The message to fill.
        array: An array of any shape. Strings have dtype object with elements of ``bytes`` or ``str`` (sent as UTF-8), or
            NumPy's dtype ``S`` or ``U``.
        as_bfloat16: Whether to round the numbers to bfloat16, half to even, for a model that takes bfloat16.

    Raises:
        TypeError: An element is neither a number nor a string.
    """
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.ndim == 0:
        tensor.tensor_shape.SetInParent()  # a scalar is a shape of no dimensions, not a missing shape
    if array.dtype.kind in "OSU":
        tensor.dtype = _STRING
        values = array.ravel().tolist()
        try:
            tensor.string_val.extend(values)
        except TypeError:
            del tensor.string_val[:]
            tensor.string_val.extend([v.encode() if isinstance(v, str) else v for v in values])
        return
    if as_bfloat16:
        tensor.dtype, tensor.tensor_content = _BFLOAT16, to_bfloat16(array).tobytes()
        return
    number = _NUMBER_OF.get(array.dtype)
    if number is None:
        wire = array.dtype.newbyteorder("<")
        if wire not in _NUMBER_OF:
            raise TypeError(f"an array of {array.dtype} has no TensorFlow dtype")
        number, array = _NUMBER_OF[wire], array.astype(wire)
    tensor.dtype, tensor.tensor_content = number, array.tobytes()


def read_tensors(tensors: Mapping[str, Any], most_bytes: int) -> dict[str, np.ndarray]:
    """Returns the outputs of an answer, sorted by name.

    Args:
        tensors: The messages.
        most_bytes: Most bytes of all arrays together: a few bytes of an answer may stand for a large array.

    Raises:
        AnswerTooLargeError: They have more.
        MalformedAnswerError: As ``read_tensor``.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in sorted(tensors):
        arrays[name] = read_tensor(tensors[name], name, most_bytes)
        most_bytes -= arrays[name].nbytes
    return arrays


def read_tensor(tensor: Any, name: str = "tensor", most_bytes: int = MAX_ANSWER_BYTES) -> np.ndarray:
    """Returns a ``TensorProto`` as an array.

    The values are in ``tensor_content`` or in the field for typed values. If there are fewer typed values than the shape has
    elements, the last one is repeated; without any, all elements are 0 or empty strings.

    Args:
        tensor: The message.
        name: The name of the output, for error messages.
        most_bytes: Most bytes of the array, where the message has fewer values than elements.

    Returns:
        An array with the shape of the message. Strings have dtype object with ``bytes`` elements. bfloat16 becomes float32,
        without loss; quantised numbers are the integers that they are stored as.

    Raises:
        AnswerTooLargeError: The array would have more bytes.
        MalformedAnswerError: The number of values does not fit the shape, the shape is unknown, or the dtype is not
            supported.
    """
    number = _QUANTISED.get(tensor.dtype % 100, tensor.dtype % 100)
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise MalformedAnswerError(f"output {name}: its shape {list(shape)} is not fully known")
    size = math.prod(shape)
    if number == _STRING:
        values = _filled(list(tensor.string_val), size, b"", name, most_bytes // _POINTER_BYTES)
        strings = np.empty(size, dtype=object)
        strings[:] = values
        return _shaped(strings, shape, name)
    if number not in _WIRE:
        raise MalformedAnswerError(f"output {name}: dtype {dtype_name(number)} can't be read")
    wire = _WIRE[number]
    content = tensor.tensor_content
    if content:
        if len(content) != size * wire.itemsize:
            expected = f"{list(shape)} of {dtype_name(number)} takes {size * wire.itemsize}"
            raise MalformedAnswerError(f"output {name}: {len(content)} bytes of tensor_content, but {expected}")
        flat = np.frombuffer(content, wire)
    else:
        flat = _typed_values(tensor, number, wire)
        if len(flat) != size:
            flat = _filled(flat, size, wire.type(0), name, most_bytes // wire.itemsize)
    if number == _BFLOAT16:
        flat = from_bfloat16(flat)
    return _shaped(flat, shape, name)


def _shaped(flat: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    try:
        return flat.reshape(shape)
    except ValueError as error:  # a dimension too large for NumPy, together with one of 0
        raise MalformedAnswerError(f"output {name}: its shape {list(shape)} is too large") from error


def _typed_values(tensor: Any, number: int, wire: np.dtype[Any]) -> np.ndarray:
    """Reads the field for typed values; if it is packed with a fixed size, without a Python object for each number."""
    field, packed = _FIELDS[number]
    values = getattr(tensor, field)
    if packed is None:
        ints = np.fromiter(values, np.int64 if wire.kind == "i" else np.uint64, len(values))
        return ints.astype("<u2").view(wire) if wire.kind == "f" else ints.astype(wire)  # half_val holds a half's bits
    item = np.dtype(packed)
    size = len(values) * item.itemsize
    # If the message has only a dtype, a shape and this field, its serialized form ends with a tag, a length and the packed
    # little-endian values. Reading these is 100 times faster than making Python floats.
    serialized = tensor.SerializeToString()
    head = TensorProto(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape).SerializeToString()
    head += varint(TensorProto.DESCRIPTOR.fields_by_name[field].number << 3 | 2) + varint(size)
    if len(serialized) == len(head) + size and serialized.startswith(head):
        flat = np.frombuffer(serialized, item, offset=len(head))
    else:
        flat = np.array(values[:], item)
    return flat[: len(flat) // 2 * 2].view(wire) if wire.kind == "c" else flat


def varint(number: int) -> bytes:
    """Returns a number in protobuf's base-128 encoding.

    Args:
        number: The number; 0 or more.
    """
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _filled(values: Any, size: int, zero: Any, name: str, most: int) -> Any:
    count = len(values)
    if count == size:
        return values
    what = f"output {name}: {count} values for a shape of {size} elements"
    if count > size:
        raise MalformedAnswerError(what)
    if size > most:
        raise AnswerTooLargeError(f"{what}; {RAISE_LIMIT}")
    last = values[-1] if count else zero
    if isinstance(values, list):
        return values + [last] * (size - count)
    return np.concatenate([values, np.full(size - count, last, values.dtype)])
