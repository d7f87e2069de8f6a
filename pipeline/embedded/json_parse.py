"""A JSON parser that accepts what TensorFlow Serving's accepts (rapidjson, ``ParseJson`` in json_tensor.cc).

Bare ``NaN`` and ``Infinity`` are numbers, text after the document is ignored, and integers beyond 64 bits are floats.
"""

from __future__ import annotations

import json
from typing import Any

from transforms.clients.tf_runtime.serving_error import invalid_argument

_DEBUG_LIMIT = 256


def _parse_int(text: str) -> int | float:
    value = int(text)
    return value if -(2**63) <= value < 2**64 else _parse_float(text)


def _parse_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("Number too big to be stored in double.")
    return value


_decoder = json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses a request's body, which has to be one JSON object.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8").lstrip(" \t\r\n")
        document, _ = _decoder.raw_decode(text)
    except RecursionError as error:  # rapidjson's parser accepts any depth, but no tensor has such a rank
        raise invalid_argument("JSON Parse error: nested too deeply") from error
    except ValueError as error:
        where = f" at offset: {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(":")[0]
        raise invalid_argument(f"JSON Parse error: {reason}{where}") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {debug_string(document)} Is not object")
    return document


def is_base64_object(value: Any) -> bool:
    """Whether ``value`` is bytes in the form ``{"b64": text}``, and so not an object of named inputs."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def debug_string(value: Any) -> str:
    """Returns JSON for an error message, cut to about 256 characters as TensorFlow Serving does."""
    text = ""
    for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) >= _DEBUG_LIMIT:
            break
    return text


def type_string(value: Any) -> str:
    """Returns the JSON type's name in error messages."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
