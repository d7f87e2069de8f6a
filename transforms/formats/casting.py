"""JSON values → tensors, exactly; a value that does not fit is refused.

``Caster.cast_all`` casts a column: one input's values of all rows. If any value is unusual, ``Caster.cast_one`` casts each
row alone, and its error names the field, the expected and the actual value. Both follow the same rules, so the result for a
record never depends on the other records (``tests/decode/test_decoder_properties.py``):

* Floating-point inputs take numbers, NaN and ±Infinity. Numbers may be rounded, but a finite number never becomes infinite.
  bfloat16 values are kept as float32 here; the client rounds them.
* Integer inputs take integers in range, and floats without a fraction (``1.0``).
* ``bool`` takes only ``true`` and ``false``, and no other dtype takes them. Null and numbers in strings are always refused.
* An input whose row has one element (``float32[1]``) takes the bare value, too, as Keras 3 exports ``Input((1,))``.
* ``string`` takes strings (as UTF-8), ``{"b64": "…"}`` objects (the form of TensorFlow Serving's REST API), and bytes, which
  occur in formats other than JSON.

Numbers are packed by ``struct``, not by ``np.array``. ``struct`` refuses strings, null and numbers out of range, where NumPy
parses, promotes or wraps; and it is four times as fast on short rows.
"""

from __future__ import annotations

import binascii
import functools
import math
import re
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from transforms.errors import ContractError
from transforms.json_kinds import is_b64, json_kind
from transforms.types import TensorSpec

FLOAT_CODES = {"float16": "e", "bfloat16": "f", "float32": "f", "float64": "d"}
INT_CODES = {
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
}
MAX_RANK = 32
"""Deeper nesting is refused: no model needs it, and it could exceed Python's recursion limit."""

BFLOAT16_OVERFLOW = np.uint32(0x7F7F8000).view(np.float32)
"""The smallest float32 that rounds to infinity as bfloat16, ties to even."""

_PIECE = 1 << 14  # arguments of one struct call, which copies them to a tuple: a batch of images at once would be too large


class FieldMismatch(ValueError):  # noqa: N818  # a condition of the record; becomes DeadLetterClass.FIELD_ERROR
    """A field does not fit its input. The message names the field and both sides, never the value."""


def decode_b64(value: dict[str, Any]) -> bytes:
    """The bytes of a ``{"b64": "…"}`` object.

    Raises:
        ValueError: It is not strict base64 (RFC 4648, section 4, with padding).
    """
    text = value["b64"]
    if type(text) is not str:
        raise ValueError(f"b64 must hold a string, not {json_kind(text)}")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii.Error is one; so is the error for characters beyond ASCII
        raise ValueError("b64 does not hold valid base64") from error


@functools.lru_cache(maxsize=1024)
def _packer(count: int, code: str) -> struct.Struct:
    return struct.Struct(f"={count}{code}")


class Caster:
    """Casts the values of one input.

    Attributes:
        name: The input's name.
        spec: The input's spec, batch dimension first.
        expected: The spec of one row as text, such as ``float32[16]``.
    """

    def __init__(self, name: str, spec: TensorSpec, label: str | None = None):
        """Prepares to cast to ``spec``.

        Args:
            name: The input's name.
            spec: Its spec.
            label: The input's name in messages; ``name`` by default.

        Raises:
            ContractError: JSON has no values of this dtype.
        """
        self.name = name
        self._label = label or name
        self.spec = spec
        self.is_string = spec.dtype == "string"
        self._code = "?" if spec.dtype == "bool" else FLOAT_CODES.get(spec.dtype) or INT_CODES.get(spec.dtype) or ""
        self._is_bfloat16 = spec.dtype == "bfloat16"
        if not self._code and not self.is_string:
            raise ContractError(
                f"--input_format: input '{name}' is {spec.dtype}, which has no JSON form; use --input_format=npy, "
                "or choose another signature with ?signature=NAME in --model"
            )
        self._packed = np.dtype({"string": "object", "bfloat16": "float32"}.get(spec.dtype, spec.dtype))
        self._is_float = spec.dtype in FLOAT_CODES
        self.dims = None if spec.shape is None else spec.shape[1:]
        self.expected = _text(spec.dtype, self.dims)
        self._takes_bare = bool(self.dims) and set(self.dims or ()) == {1}

    def cast_all(self, values: Sequence[Any]) -> np.ndarray | None:
        """Casts one value a row to an array of shape ``[len(values), *row shape]``.

        Returns:
            The array; ``None`` if the rows differ in shape or any value may not fit. Then cast them one by one.
        """
        level: Sequence[Any] = values
        if self._takes_bare and type(values[0]) is not list:
            if list in set(map(type, values)):
                return None
            shape = (len(values), *(self.dims or ()))
            return self._pack_strings(level, shape) if self.is_string else self._pack_numbers(level, shape)
        dims = self._fit(observed_shape(values[0], MAX_RANK if self.dims is None else len(self.dims)))
        if dims is None:
            return None
        for size in dims:
            if not level:
                break
            if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
                return None
            inner: list[Any] = []
            for part in level:
                inner += part
            level = inner
        shape = (len(values), *dims)
        if len(level) != math.prod(shape):
            return None  # an empty list, but the shape has a size above 0
        return self._pack_strings(level, shape) if self.is_string else self._pack_numbers(level, shape)

    def cast_one(self, value: Any) -> np.ndarray:
        """Casts the value of one row to an array of shape ``[1, *row shape]``.

        Raises:
            FieldMismatch: The value does not fit. The message says what was expected and what came.
        """
        quick = self.cast_all((value,))
        if quick is not None:
            return quick
        if (self.dims == () or self._takes_bare) and type(value) is not list:
            return self._array([self._element(value, 0, ())], (1, *(self.dims or ())))
        observed = observed_shape(value, MAX_RANK)
        if len(observed) >= MAX_RANK:
            raise FieldMismatch(f"{self._label}: expected {self.expected}, came lists nested {MAX_RANK} deep or more")
        flat = list(_leaves(value, observed, self._label))
        dims = self._fit(observed)
        if dims is None:
            raise FieldMismatch(self._shape_message(value, observed))
        elements = [self._element(element, i, dims) for i, element in enumerate(flat)]
        return self._array(elements, (1, *dims))

    def _fit(self, observed: tuple[int, ...]) -> tuple[int, ...] | None:
        """Returns the row shape if the observed shape fits the declared one, else ``None``.

        An empty list shows no inner dimensions. The declared ones are used if they are all fixed.
        """
        if self.dims is None:
            return observed if len(observed) < MAX_RANK else None
        if 0 in observed and len(observed) < len(self.dims):
            observed += self.dims[len(observed) :]
        if len(observed) != len(self.dims):
            return None
        fits = all(o >= 0 and d in (o, -1) for o, d in zip(observed, self.dims, strict=True))
        return observed if fits else None

    def _pack_numbers(self, flat: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray | None:
        if self._code == "?" and not set(map(type, flat)) <= {bool}:
            return None  # struct takes any object as a boolean
        array = np.empty(shape, self._packed)
        size = self._packed.itemsize
        try:
            for start in range(0, len(flat), _PIECE):
                piece = flat[start : start + _PIECE] if len(flat) > _PIECE else flat
                _packer(len(piece), self._code).pack_into(array.data, start * size, *piece)
        except (struct.error, OverflowError):
            whole = None if self._is_float else _integers(flat)
            return None if whole is None else self._pack_numbers(whole, shape)
        # struct takes true as 1 and false as 0. Checking types is slow, so do it only if there is a 0 or a 1.
        if self._code != "?" and ((array == 0) | (array == 1)).any() and bool in set(map(type, flat)):
            return None
        if self._is_bfloat16 and (np.isfinite(array) & (abs(array) >= BFLOAT16_OVERFLOW)).any():
            return None
        return array

    def _pack_strings(self, flat: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray | None:
        types = set(map(type, flat))
        try:
            if types <= {str}:
                return self._array([text.encode() for text in flat], shape)
            if types == {dict} and all(map(is_b64, flat)):
                return self._array([decode_b64(value) for value in flat], shape)
            if types == {bytes}:
                return self._array(list(flat), shape)
        except ValueError:  # a lone surrogate, or not base64
            return None
        return None

    def _array(self, elements: list[Any], shape: tuple[int, ...]) -> np.ndarray:
        """Makes an array of elements that were each checked to fit."""
        if self.is_string:
            return np.fromiter(elements, dtype=object, count=len(elements)).reshape(shape)
        array = np.empty(shape, self._packed)
        _packer(len(elements), self._code).pack_into(array.data, 0, *elements)
        return array

    def _element(self, value: Any, i: int, dims: tuple[int, ...]) -> Any:
        """Converts element ``i`` of a row to a number or to bytes; raises ``FieldMismatch`` if it does not fit."""
        kind = type(value)
        wrong = ""
        if self.is_string:
            try:
                if kind is str:
                    return value.encode()
                if is_b64(value):
                    return decode_b64(value)
                if kind is bytes:
                    return value
            except UnicodeEncodeError:
                wrong = "the string is not valid Unicode: it has a lone surrogate"
            except ValueError as error:
                wrong = str(error)
        elif self._code == "?":
            if kind is bool:
                return value
        elif kind is float and not self._is_float:
            if value.is_integer():  # False for NaN and infinities
                return self._element(int(value), i, dims)
            if math.isfinite(value):
                wrong = f"expected {self._one()}, came a number with a fraction"
        elif kind is int or kind is float:
            if self._in_range(value):
                return value
            wrong = f"the number is out of range for {self.spec.dtype}"
        if not wrong:
            cure = self._cure_of(value) if value is None or self._code not in ("", "?") else ""
            wrong = f"expected {self._one()}, came {json_kind(value)}{cure}"
        raise FieldMismatch(f"{self._label}{_path(i, dims)}: {wrong}")

    def _in_range(self, value: float) -> bool:
        try:
            _packer(1, self._code).pack(value)
        except (struct.error, OverflowError):
            return False
        if not self._is_bfloat16 or not math.isfinite(value):
            return True
        return bool(abs(np.float32(value)) < BFLOAT16_OVERFLOW)

    def _one(self) -> str:
        if self.is_string:
            return 'a string or {"b64": "…"}'
        return {"?": "true or false"}.get(self._code, self.spec.dtype)

    def _cure_of(self, value: Any) -> str:
        return LEFT_OUT if value is None and self.spec.has_default else _cure_of(value)

    def _shape_message(self, value: Any, observed: tuple[int, ...]) -> str:
        came = f"lists of shape [{','.join(map(str, observed))}]" if len(observed) > 1 else json_kind(value)
        message = f"{self._label}: expected {self.expected}, came {came}{self._cure_of(value) if value is None else ''}"
        if observed[:1] == (1,) and self._fit(observed[1:]) is not None:
            message += "; a record is one row: leave the batch dimension out"
        if self.spec.shape and len(observed) == len(self.spec.shape) and observed[0] == self.spec.shape[0] > 1:
            message += f"; the model's first size, {observed[0]}, {UNBATCHED}"
        return message


def observed_shape(value: Any, limit: int) -> tuple[int, ...]:
    """Returns the shape of nested lists by their first elements, with at most ``limit + 1`` dimensions."""
    dims: list[int] = []
    while type(value) is list and len(dims) <= limit:
        dims.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(dims)


def _leaves(value: Any, shape: tuple[int, ...], path: str) -> Iterable[Any]:
    """Yields the elements of nested lists of ``shape``; raises ``FieldMismatch`` if the lists are ragged."""
    if not shape:
        return [value]
    if type(value) is not list or len(value) != shape[0]:
        raise FieldMismatch(f"{path}: came {json_kind(value)} where its neighbours are lists of {shape[0]}")
    if len(shape) > 1:
        return chain.from_iterable([_leaves(part, shape[1:], f"{path}[{i}]") for i, part in enumerate(value)])
    for i, element in enumerate(value):
        if type(element) is list:
            raise FieldMismatch(f"{path}[{i}]: came {json_kind(element)} where its neighbours are not lists")
    return value


def _integers(flat: Sequence[Any]) -> list[int] | None:
    """Converts floats without a fraction to integers. ``None`` if there is another type, a fraction, or no float at all."""
    types = set(map(type, flat))
    if float not in types or not types <= {int, float} or not all(v.is_integer() for v in flat if type(v) is float):
        return None
    return list(map(int, flat))


_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
LONGEST_TEXT = 100
"""The most characters of text that may be a number, a time or a category."""
_TIME = re.compile(r"\s*\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?\s*", re.ASCII)


UNBATCHED = "is taken for the number of records in a request; if it is of a record, ?batch=none in an oip+… URI says so"
"""The cure of a record that has the shape of all of the model's input."""

LEFT_OUT = "; |default(null) behind its path in --features leaves it out where it is null"
"""The cure of null in an input that a record need not have."""


def _cure_of(value: Any) -> str:
    """What to add where a number was expected, or where null came: the word of ``--features`` that mends it, if one does."""
    if value is None:
        return "; |default(JSON) behind its path in --features takes the place of null"
    if type(value) is not str or len(value) > LONGEST_TEXT:
        return ""
    word = "number" if _NUMBER.fullmatch(value) else "time" if _TIME.fullmatch(value) else ""
    if word:
        return f" that holds a {word}; |{word} behind its path in --features reads it"
    return "; |lookup(FILE) behind its path in --features makes a number of a category"


def _path(i: int, dims: tuple[int, ...]) -> str:
    """Returns the position of element ``i`` in a row of shape ``dims`` as text, such as ``[1][3]``."""
    return "".join(f"[{k}]" for k in np.unravel_index(i, dims)) if dims else ""


def _text(dtype: str, dims: tuple[int, ...] | None) -> str:
    if dims is None:
        return f"{dtype} of any shape"
    return str(TensorSpec(dtype, dims)) if dims else f"one {dtype}"
