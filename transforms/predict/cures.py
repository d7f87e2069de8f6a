"""``cure_of``: what in a row that the model refuses is likely to be the cause, and the flag that mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

_IMAGE = re.compile(rb"data:image/[\w.+-]{1,40};base64,|iVBORw0KGgo|/9j/|R0lGOD[dl]h|UklGR[\w+/]{11}V0VCU")
"""How base64 of images begins: a ``data:`` URL, PNG, JPEG, GIF, WebP."""

_LEAST = 32
"""Characters of the smallest image, about."""


def cure_of(inputs: Mapping[str, np.ndarray]) -> str:
    """Returns what to add to the message of a refused row; empty if nothing is known. It never repeats a value.

    Args:
        inputs: The row, as a request of one.
    """
    for name, value in _texts(inputs):
        if is_image_text(value):
            return (
                f"; '{name}' is an image as base64 text: --features='{name}=$.FIELD|base64' (of JSON records), or "
                "--preprocess, makes it bytes"
            )
        if value.lstrip()[:1] == b"{" and _is_json(value):
            return (
                f"; '{name}' is a JSON object as text: --features={name}=$.FIELD takes one of its fields "
                "(an image in base64: $.FIELD|base64)"
            )
    return ""


def is_image_text(value: bytes) -> bool:
    """Whether a text is an image in base64, as far as its beginning tells."""
    return len(value) >= _LEAST and _IMAGE.match(value) is not None


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except ValueError:
        return False
    return True


def _texts(inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, bytes]]:
    for name, array in inputs.items():
        if array.dtype == object and array.size:
            value = array.flat[0]
            fields: dict[str, Any] = value if isinstance(value, dict) else {name: value}  # a dict: without a signature
            for field, text in fields.items():
                if isinstance(text, bytes):
                    yield field, text
                elif isinstance(text, str):
                    yield field, text.encode("utf-8", "replace")
