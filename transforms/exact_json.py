"""JSON with integers of any length: orjson makes floats of those beyond 64 bits, silently, and writes none.

An identifier of 23 digits is a number to JSON, to Python and to many JSON endpoints. Rounded to a float it is another one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

_DIGITS_AS_ZERO = bytes(ord("0") if ord("0") <= byte <= ord("9") else byte for byte in range(256))
_POSITIVE, _NEGATIVE = b"0" * 20, b"-" + b"0" * 19
"""The digits of 2**64 and, behind the sign, of -2**63 - 1: orjson reads all shorter integers exactly."""

_LONG = re.compile(rb"(?:^|[\s:,\[])(?:-\d{19}|\d{20})")
"""A long integer, or a float that begins like one; not the digits of a text or of a fraction."""

_RUN = b"\x01" * 19
"""So many digits in a row, as a mask: all of these integers have as many."""

_PIECE = 1 << 16
"""Bytes that are looked at together: they fit the processor's cache."""

_MIN, _MAX = -(2**63), 2**64 - 1


def has_long_integer(text: bytes) -> bool:
    """Whether JSON has an integer that may be beyond 64 bits. It takes about as long as to parse it by orjson."""
    if len(text) < len(_POSITIVE):
        return False
    zeros = text.translate(_DIGITS_AS_ZERO)
    return (_POSITIVE in zeros or _NEGATIVE in zeros) and _LONG.search(text) is not None


def loads_exactly(text: bytes) -> Any:
    """Parses JSON. Integers keep their digits.

    Raises:
        ValueError: orjson does not take it: NaN, Infinity, half a surrogate pair, or too deeply nested.
        RecursionError: It has a long integer, and is too deeply nested.
    """
    document = orjson.loads(text)
    return json.loads(text, parse_float=finite) if has_long_integer(text) else document


def loads_all_exactly(texts: Sequence[bytes]) -> list[Any]:
    """Parses many, as ``loads_exactly`` does. That none has long integers is found out together, in a fraction of the time.

    Raises:
        ValueError: As ``loads_exactly``.
        RecursionError: As ``loads_exactly``.
    """
    documents = list(map(orjson.loads, texts))
    step = max(1, len(texts) * _PIECE // max(1, sum(map(len, texts))))
    for start in range(0, len(texts), step):
        piece = texts[start : start + step]
        if _has_run(b" ".join(piece)):
            for at, text in enumerate(piece, start):
                if has_long_integer(text):
                    documents[at] = json.loads(text, parse_float=finite)
    return documents


def _has_run(text: bytes) -> bool:
    """Whether there are as many digits in a row as a long integer has."""
    return _RUN in (np.frombuffer(text, np.uint8) - np.uint8(ord("0")) < 10).tobytes()


def finite(text: str) -> float:
    """Reads a number with a fraction or an exponent.

    Raises:
        ValueError: It is beyond float64.
    """
    number = float(text)
    if math.isinf(number):
        raise ValueError("beyond float64")
    return number


def dumps_exactly(document: Any, option: int | None = None) -> bytes:
    """Serializes a document by orjson, and its integers beyond 64 bits with all digits.

    Args:
        document: Any JSON value.
        option: orjson's.

    Raises:
        TypeError: It has a value that JSON lacks, half a surrogate pair, or more levels than orjson writes.
    """
    try:
        return orjson.dumps(document, option=option)
    except TypeError:
        try:
            written = _with_long_integers(document)
        except RecursionError:
            raise TypeError("is nested too deeply") from None
    return orjson.dumps(written, option=option)


def _with_long_integers(value: Any) -> Any:
    kind = type(value)
    if kind is int and not _MIN <= value <= _MAX:
        return orjson.Fragment(str(value))
    if kind is dict:
        return {name: _with_long_integers(part) for name, part in value.items()}
    return [_with_long_integers(part) for part in value] if kind is list or kind is tuple else value
