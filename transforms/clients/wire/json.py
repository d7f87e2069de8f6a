"""JSON as model servers write it: bare NaN, Infinity and -Infinity, and strings that need not be UTF-8."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson


def loads(body: bytes) -> Any:
    """Parses a body.

    Raises:
        ValueError: It is not JSON, not even with bare NaN and Infinity, or too deeply nested.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def dumps(document: Any) -> bytes:
    """Serializes a document, which may hold C-contiguous arrays of numbers; NaN and infinities stand bare.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes what JSON lacks as null. Without a null there was none, and nulls are rare enough to look again.
    return json.dumps(document, default=_plain).encode() if b"null" in body else body


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
