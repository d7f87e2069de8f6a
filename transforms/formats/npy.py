"""``.npy`` values → tensors: each record is one array for the model's only input, cast by the rules for JSON values.

Source: NumPy enhancement proposal 1 (the format). Object arrays are refused: they need pickle, and unpickling runs code.
"""

from __future__ import annotations

import functools
import io
import math
import struct

import numpy as np
from numpy.lib import format as npy_format

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.casting import BFLOAT16_OVERFLOW, FLOAT_CODES, MAX_RANK, FieldMismatch
from transforms.formats.codecs import FormatError, row_shape
from transforms.types import TensorSpec

MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I"), (3, 0): struct.Struct("<I")}
_MAX_HEADER_BYTES = 10_000  # NumPy's own limit: Python's parser reads the header


class NpyError(FormatError):
    """A value is not a whole ``.npy`` file that can be read without pickle."""

    dead_letter_class = DeadLetterClass.NPY_ERROR


class NpyReader:
    """Reads arrays for one input.

    Args:
        name: The input's name.
        spec: Its spec, batch dimension first.
    """

    def __init__(self, name: str, spec: TensorSpec):
        self._name, self._spec = name, spec
        self._dims = None if spec.shape is None else row_shape(spec)
        self._target = np.dtype({"string": "object", "bfloat16": "float32"}.get(spec.dtype, spec.dtype))

    def read(self, value: bytes) -> np.ndarray:
        """Returns the array of one row, of the input's dtype (strings: dtype object, of bytes).

        Raises:
            NpyError: The value is not a complete ``.npy`` file, or holds Python objects.
            FieldMismatch: The shape or dtype does not fit the input.
        """
        array = read_npy(value)
        if not self._fits(array.shape):
            message = f"{self._name}: expected {self._expected()}, came an array of shape {_brackets(array.shape)}"
            if array.shape[:1] == (1,) and self._fits(array.shape[1:]):
                message += "; a record is one row: leave the batch dimension out"
            raise FieldMismatch(message)
        return self._cast(array)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        if self._dims is None:
            return len(shape) < MAX_RANK
        return len(shape) == len(self._dims) and all(d in (s, -1) for s, d in zip(shape, self._dims, strict=True))

    def _cast(self, array: np.ndarray) -> np.ndarray:
        kind, wanted = array.dtype.kind, self._spec.dtype
        if wanted == "string" and kind in "SU":
            flat = array.ravel().tolist()
            try:
                texts = flat if kind == "S" else [text.encode() for text in flat]
            except UnicodeEncodeError as error:
                raise FieldMismatch(f"{self._name}: a string is not valid Unicode: it has a lone surrogate") from error
            return np.fromiter(texts, dtype=object, count=len(texts)).reshape(array.shape)
        if wanted in FLOAT_CODES and kind in "iuf":
            return self._to_float(array)
        if self._target.kind in "iu" and kind in "iuf":
            return self._to_integer(array)
        if (self._target.kind, kind) in (("b", "b"), ("c", "c")):
            return self._to_complex(array) if kind == "c" else array.astype(bool)
        raise FieldMismatch(f"{self._name}: expected {self._expected()}, came an array of {array.dtype.name}")

    def _to_float(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = array.astype(self._target)
        finite = np.isfinite(cast)
        beyond = np.isfinite(array) & ~finite
        if self._spec.dtype == "bfloat16":  # kept as float32 here; the client rounds it
            beyond |= finite & (abs(cast) >= BFLOAT16_OVERFLOW)
        if beyond.any():
            raise self._out_of_range()
        return cast

    def _to_integer(self, array: np.ndarray) -> np.ndarray:
        limits = np.iinfo(self._target)
        if array.dtype.kind == "f":
            array = array.astype(np.float64) if array.dtype.itemsize < 8 else array  # to hold the limits
            if not np.isfinite(array).all() or (array != np.trunc(array)).any():
                raise FieldMismatch(f"{self._name}: expected {self._spec.dtype}, came a number with a fraction, NaN or inf")
            # A float upper limit rounds up to just beyond the range, so compare by "less than". Exact limits need + 1.
            outside = (array < float(limits.min)) | (array >= float(limits.max) + (limits.max < 2**53))
        else:
            same_sign = array.dtype.kind == self._target.kind
            if same_sign and array.dtype.itemsize <= self._target.itemsize:
                return array.astype(self._target)
            low, high = int(array.min(initial=0)), int(array.max(initial=0))
            outside = np.asarray(low < limits.min or high > limits.max)
        if outside.any():
            raise self._out_of_range()
        return array.astype(self._target)

    def _to_complex(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = array.astype(self._target)
        if (np.isfinite(array) & ~np.isfinite(cast)).any():
            raise self._out_of_range()
        return cast

    def _out_of_range(self) -> FieldMismatch:
        return FieldMismatch(f"{self._name}: a number is out of range for {self._spec.dtype}")

    def _expected(self) -> str:
        return f"{self._spec.dtype}{' of any shape' if self._dims is None else _brackets(self._dims)}"


def read_npy(value: bytes) -> np.ndarray:
    """Returns the array in a ``.npy`` file. It may share the memory of ``value``.

    Raises:
        NpyError: The file is not complete, or needs pickle.
    """
    where = f"the value ({len(value)} bytes)"
    if not value.startswith(MAGIC):
        raise NpyError(f"{where} is not a .npy file")
    version = (value[6], value[7]) if len(value) > 7 else (0, 0)
    length = _LENGTHS.get(version)
    if length is None or len(value) < 8 + length.size:
        raise NpyError(f"{where} is not a whole .npy file of version 1, 2 or 3")
    start = 8 + length.size + length.unpack_from(value, 8)[0]
    if start > min(len(value), _MAX_HEADER_BYTES):
        raise NpyError(
            f"{where} is not a whole .npy file: its header is cut short, or longer than {_MAX_HEADER_BYTES} bytes"
        )
    shape, by_columns, dtype = _header(value[:start])
    if dtype.hasobject:
        raise NpyError(
            "the array holds Python objects, which need pickle, and unpickling runs code; save numbers or strings instead"
        )
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind in "MmV":
        raise NpyError(f"the array's dtype (kind '{dtype.kind}') has no tensor dtype; save numbers, booleans or strings")
    count = math.prod(shape)
    if len(value) - start != count * dtype.itemsize:
        expected = count * dtype.itemsize
        raise NpyError(f"{where} is not a whole .npy file: {expected} bytes of numbers expected, {len(value) - start} came")
    if dtype.itemsize == 0:  # strings of no characters
        return np.zeros(shape, dtype)
    array = np.frombuffer(value, dtype, count, start)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


@functools.lru_cache(maxsize=256)  # topics have few different headers; parsing one costs ten times the numbers
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    source = io.BytesIO(head)
    try:
        version = npy_format.read_magic(source)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, by_columns, dtype = read(source)
    except Exception as error:  # mostly ValueError, but evaluating a dtype's text may raise others
        raise NpyError("the value is not a .npy file: its header can't be read") from error
    if any(size < 0 for size in shape):
        raise NpyError("the array's shape has a size below 0")
    return shape, by_columns, dtype


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"
