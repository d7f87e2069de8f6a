"""The kinds of JSON values, by the names that all messages have for them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def is_b64(value: Any) -> bool:
    """Whether ``value`` is an object whose only key is ``b64``: bytes in base64, never named inputs."""
    return type(value) is dict and len(value) == 1 and "b64" in value


def json_kind(value: Any) -> str:
    """Names the kind of a JSON value for a message, without the value itself. A ``Decimal`` is a number, too."""
    if value is None:
        return "null"
    if is_b64(value):
        return "a b64 object"
    if type(value) is list:
        return f"a list of {len(value)}"
    names = {bool: "a bool", str: "a string", int: "an integer", Decimal: "a number", dict: "an object", bytes: "bytes"}
    if type(value) is float:
        return "a number" if math.isfinite(value) else "NaN" if math.isnan(value) else "an infinity"
    return names.get(type(value), "something that JSON does not have")
