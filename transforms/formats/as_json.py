"""Values of other formats in the form that JSON can hold."""

from __future__ import annotations

import base64
from typing import Any


def with_bytes_as_b64(value: Any) -> Any:
    """Replaces bytes by ``{"b64": …}`` objects, TensorFlow Serving's JSON form of bytes."""
    kind = type(value)
    if kind is bytes:
        return {"b64": base64.b64encode(value).decode()}
    if kind is dict:
        return {key: with_bytes_as_b64(part) for key, part in value.items()}
    if kind is list:
        return [with_bytes_as_b64(part) for part in value]
    return value
