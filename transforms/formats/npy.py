"""``.npy`` values → tensors: each record is one array for the model's only input, cast by the rules for JSON values.

Source: NumPy enhancement proposal 1 (the format). Object arrays are refused: they need pickle, and unpickling runs code.
The header is read here, and not by NumPy: it may say any shape, and NumPy would allocate it, or raise what it likes.
"""

from __future__ import annotations

import functools
import math
import re
import struct

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.casting import BFLOAT16_OVERFLOW, FLOAT_CODES, MAX_RANK, FieldMismatch
from transforms.formats.codecs import FormatError, row_shape
from transforms.formats.limits import MAX_RECORD_BYTES, VALUE_BYTES, too_large
from transforms.printable import counted
from transforms.types import TensorSpec

MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I"), (3, 0): struct.Struct("<I")}
_MAX_HEADER_BYTES = 10_000  # NumPy's own limit

# A header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
_ENTRY = re.compile(r"""\s*(['"])(descr|fortran_order|shape)\1\s*:\s*""")
_VALUES = {
    "descr": re.compile(r"""(['"])([^'"\\]{1,40})\1|(\[)"""),
    "fortran_order": re.compile(r"(True|False)\b"),
    "shape": re.compile(r"\(([^()]*)\)"),
}
_NEXT = re.compile(r"\s*(?:,|(?=\}))")
_END = re.compile(r"\s*\}\s*")
_SIZE = re.compile(r"(\d{1,40})L?")  # Python 2 wrote (2L, 3L)
_DTYPE = re.compile(r"[<>=|]?[A-Za-z?]+\d{0,10}")


class NpyError(FormatError):
    """A value is not a whole ``.npy`` file that can be read without pickle."""

    dead_letter_class = DeadLetterClass.NPY_ERROR


class NpyReader:
    """Reads arrays for one input.

    Args:
        name: The input's name.
        spec: Its spec, batch dimension first.
        max_bytes: The most memory in bytes that an array may take.
    """

    def __init__(self, name: str, spec: TensorSpec, max_bytes: int = MAX_RECORD_BYTES):
        self._name, self._spec, self._max_bytes = name, spec, max_bytes
        self._dims = None if spec.shape is None else row_shape(spec)
        self._target = np.dtype({"string": "object", "bfloat16": "float32"}.get(spec.dtype, spec.dtype))
        self._item_bytes = VALUE_BYTES if spec.dtype == "string" else self._target.itemsize

    def read(self, value: bytes) -> np.ndarray:
        """Returns the array of one row, of the input's dtype (strings: dtype object, of bytes).

        Raises:
            NpyError: The value is not a complete ``.npy`` file, holds Python objects, or would take too much memory.
            FieldMismatch: The shape or dtype does not fit the input.
        """
        array = read_npy(value, self._max_bytes, self._item_bytes)
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


def read_npy(value: bytes, max_bytes: int = MAX_RECORD_BYTES, item_bytes: int = 0) -> np.ndarray:
    """Returns the array in a ``.npy`` file. It may share the memory of ``value``.

    Args:
        value: The file.
        max_bytes: The most memory in bytes that the array may take.
        item_bytes: How many bytes an item will take once it is cast; items that have more in the file count as that many.

    Raises:
        NpyError: The file is not complete, needs pickle, or would take too much memory.
    """
    where = f"the value ({counted(len(value), 'byte')})"
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
    shape, by_columns, dtype = _header(value[8 + length.size : start])
    count = math.prod(shape)
    if len(value) - start != count * dtype.itemsize:
        expected = count * dtype.itemsize
        raise NpyError(f"{where} is not a whole .npy file: {expected} bytes of numbers expected, {len(value) - start} came")
    # A size of 0 makes the array empty, but NumPy multiplies the others; and items of no bytes cost nothing in the file.
    if math.prod([max(size, 1) for size in shape]) * max(dtype.itemsize, item_bytes, 1) > max_bytes:
        raise NpyError(f"{where} {too_large('its array', max_bytes)}: its shape is {_brackets(shape)}")
    if dtype.itemsize == 0:  # strings of no characters
        return np.zeros(shape, dtype)
    array = np.frombuffer(value, dtype, count, start)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


@functools.lru_cache(maxsize=256)  # topics have few different headers; parsing one costs ten times the numbers
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, whether the items are stored by columns, and dtype."""
    text = head.decode("latin-1").strip()  # all that is read of it is ASCII, also in version 3, which is UTF-8
    found: dict[str, re.Match[str]] = {}
    at = 1 if text.startswith("{") else len(text)
    while entry := _ENTRY.match(text, at):
        value = _VALUES[entry[2]].match(text, entry.end())
        if value is None:
            raise NpyError(f"the value is not a .npy file: the '{entry[2]}' in its header can't be read")
        if entry[2] == "descr" and value[3]:
            raise NpyError("the array has a structured dtype, which has no tensor dtype; save numbers, booleans or strings")
        found[entry[2]] = value
        following = _NEXT.match(text, value.end())
        at = following.end() if following else len(text)
    if len(found) != len(_VALUES) or not _END.fullmatch(text, at):
        raise NpyError("the value is not a .npy file: its header is no dict of 'descr', 'fortran_order' and 'shape'")
    return _shape(found["shape"][1]), found["fortran_order"][1] == "True", _dtype(found["descr"][2])


def _shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if sizes[-1] == "":
        sizes.pop()
    elif len(sizes) == 1:
        raise NpyError("the value is not a .npy file: the shape in its header is no tuple")
    if len(sizes) > MAX_RANK:
        raise NpyError(f"the array has {len(sizes)} dimensions; arrays of more than {MAX_RANK} are not read")
    found = [_SIZE.fullmatch(size) for size in sizes]
    if None in found:
        raise NpyError("the value is not a .npy file: a size in its header's shape is not a whole number of 0 or more")
    return tuple([int(size[1]) for size in found if size is not None])


def _dtype(text: str) -> np.dtype:
    name, bracket, _ = text.partition("[")  # <M8[ns]
    try:
        dtype = np.dtype(name) if _DTYPE.fullmatch(name) else None
    except (TypeError, ValueError, OverflowError, DeprecationWarning):
        dtype = None
    if dtype is None:
        raise NpyError("the value is not a .npy file: the dtype in its header is unknown")
    if dtype.hasobject:
        raise NpyError(
            "the array holds Python objects, which need pickle, and unpickling runs code; save numbers or strings instead"
        )
    if bracket or dtype.kind not in "biufcSU":
        raise NpyError(f"the array's dtype (kind '{dtype.kind}') has no tensor dtype; save numbers, booleans or strings")
    return dtype


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"
