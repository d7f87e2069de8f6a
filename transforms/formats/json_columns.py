"""A model's outputs → JSON texts, one for each row. A column of numbers is serialized by one call.

| value | JSON |
|---|---|
| integers, booleans | as they are |
| floats | the shortest digits that give the same float of *that* dtype: float32 ``0.1``, not ``0.10000000149011612`` |
| NaN, ±Infinity | the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, as in protobuf's JSON mapping: JSON has none |
| bytes | a string; ``{"b64": "…"}`` if they are not UTF-8, or the output is named ``…_bytes`` (TensorFlow Serving's rule) |

Arrays and lists become lists. Objects, which KServe servers may answer, stay objects.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

Texts = tuple[list[bytes], dict[int, str]]
"""One JSON text for each row; and for each row that can't be written (its text is empty) the reason."""

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def column_texts(name: str, column: Sequence[Any] | np.ndarray, dtype: str | None = None) -> Texts:
    """Serializes one output.

    Args:
        name: The output's name. If it ends in ``_bytes``, its bytes are written as ``b64`` even if they are UTF-8.
        column: An array of shape ``[rows, …]``, or a list of one JSON-like value a row.
        dtype: The declared dtype; ``float32`` makes lists of numbers print as float32.

    Returns:
        The texts, and the reason for each row that can't be written. A reason never holds a value.
    """
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "V":  # bfloat16 and similar dtypes of ml_dtypes; float32 holds their values exactly
            column = column.astype(np.float32)
        if column.dtype.kind in "fiub":
            return number_texts(column), {}
        column = column.tolist()
    as_float32 = dtype == "float32"
    as_bytes = name.endswith("_bytes")
    texts: list[bytes] = []
    errors: dict[int, str] = {}
    for row, value in enumerate(column):
        try:
            texts.append(value_text(value, as_bytes, as_float32))
        except (TypeError, ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            errors[row] = f"output '{name}' can't be written as JSON: {reason}"
            texts.append(b"")
    return texts, errors


def number_texts(array: np.ndarray) -> list[bytes]:
    """Returns a JSON text for each row of a numeric array of shape ``[rows, …]``, with NaN and infinities as names.

    The array is serialized by one call. The text is then cut between the rows, by counting brackets.
    """
    if array.size == 0:
        return [orjson.dumps(row) for row in array.tolist()]
    if array.itemsize > 8:  # long double: JSON readers have no more than float64
        array = array.astype(np.float64)
    if not (array.flags.c_contiguous and array.dtype.isnative):
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    ndim = array.ndim
    opening, closing = b"[" * (ndim - 1), b"]" * (ndim - 1)
    texts = orjson.dumps(array, option=_NUMPY)[ndim:-ndim].split(closing + b"," + opening)
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            for row in np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1)).tolist():
                texts[row] = _named(texts[row], array[row][~finite[row]].tolist())
    return texts if ndim == 1 else [opening + text + closing for text in texts]


def _named(text: bytes, values: list[float]) -> bytes:
    """Replaces the nulls, which the serializer writes for non-finite values, by the values' names."""
    parts = text.split(b"null")
    return parts[0] + b"".join([b'"%b"%b' % (float_name(v).encode(), p) for v, p in zip(values, parts[1:], strict=True)])


def float_name(value: float) -> str:
    """``NaN``, ``Infinity`` or ``-Infinity``."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def value_text(value: Any, as_bytes: bool = False, as_float32: bool = False) -> bytes:
    """Serializes one JSON-like value.

    Args:
        value: Scalars, lists and dicts, and bytes.
        as_bytes: Write bytes as ``b64`` even if they are UTF-8.
        as_float32: Print floats as float32.

    Raises:
        TypeError: The value has no JSON form.
        ValueError: The value has no JSON form.
        RecursionError: The value is nested too deeply.
    """
    if type(value) is bytes and not as_bytes:
        try:
            return orjson.dumps(value.decode())
        except UnicodeDecodeError:
            pass
    if as_float32 and type(value) in (float, list):
        array = _floats(value)
        if array is not None:
            return number_texts(array[np.newaxis])[0]
    try:
        text = orjson.dumps(value)
        if b"null" not in text:  # orjson writes null for NaN
            return text
    except TypeError:
        pass
    plain = _plain(value, as_bytes)
    try:
        return orjson.dumps(plain)
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate; json takes both. NaN is replaced already.
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def _floats(value: Any) -> np.ndarray | None:
    """Converts a float or a flat list of floats to float32; ``None`` for anything else, or if a number overflows float32."""
    if type(value) is list and set(map(type, value)) != {float}:
        return None
    with np.errstate(over="ignore"):
        array = np.array(value, np.float32)
    return None if (np.isinf(array) & np.isfinite(np.array(value))).any() else array


def _plain(value: Any, as_bytes: bool) -> Any:
    """Converts a value to JSON's types."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else float_name(value)
    if kind is list or kind is tuple:
        return [_plain(v, as_bytes) for v in value]
    if kind is dict:
        return {key if type(key) is str else str(_plain(key, False)): _plain(v, as_bytes) for key, v in value.items()}
    if kind is bytes:
        if not as_bytes:
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "c":
        return _plain(value.tolist(), as_bytes)
    if value is None or kind in (bool, int, str):
        return value
    raise TypeError(f"JSON has no form for {kind.__name__}")
