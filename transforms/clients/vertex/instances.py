"""A request's arrays to Vertex AI's ``instances``: one JSON-like value a row.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict. An instance is a
``google.protobuf.Value``: its numbers are doubles, which hold every float32 and float64 exactly, but neither NaN and
infinities nor every integer beyond 2**53.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transforms.clients.wire.json_outputs import INSTANCES

_EXACT = 2**53
_ALWAYS_FINE = {str, bool, type(None)}


def instances_of(inputs: Mapping[str, np.ndarray]) -> list[Any]:
    """Returns one instance a row.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``, or of no dimension for one row. A sole input called
            ``instances`` holds whole instances, bare values or objects; otherwise each is an object of the inputs by name.
    """
    columns = {name: _plain(array.tolist() if array.ndim else [array.item()]) for name, array in inputs.items()}
    if list(columns) in ([INSTANCES], ["b64"]):
        # {"b64": …} would be taken for encoded bytes, not for the input of that name.
        (rows,) = columns.values()
        return list(rows)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    """The value with bytes as ``{"b64": …}``, which is how containers take them (TensorFlow Serving's rule)."""
    kind = type(value)
    if kind is bytes:
        return {"b64": base64.b64encode(value).decode()}
    if kind is list:
        return value if set(map(type, value)) <= {float, int, str, bool} else [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return value


def check(instances: list[Any]) -> None:
    """Refuses what would not arrive as it is.

    Raises:
        ValueError: The message names the instance, the field and the reason, never the value.
    """
    found = _find(instances)
    if found is not None:
        raise ValueError(f"instance{found[0]} is {found[1]}")


def _find(value: Any) -> tuple[str, str] | None:
    """Path and fault of the first value that can't be sent; lists of one kind, which are nearly all, are checked whole."""
    kind = type(value)
    if kind is list:
        kinds = set(map(type, value))
        if kinds <= _ALWAYS_FINE or (kinds == {float} and all(map(math.isfinite, value))):
            return None
        if kinds == {int} and min(value) >= -_EXACT and max(value) <= _EXACT:
            return None
        return _first((f"[{index}]", item) for index, item in enumerate(value))
    if kind is dict:
        return _first((f".{name}", item) for name, item in value.items())
    if kind is float and not math.isfinite(value):
        return "", "NaN or infinite, which JSON has no form for"
    if kind is int and not -_EXACT <= value <= _EXACT and not _is_exact(value):
        return "", "an integer beyond 2**53, which Vertex AI would round; send it as text"
    return None


def _first(items: Any) -> tuple[str, str] | None:
    for name, item in items:
        found = _find(item)
        if found is not None:
            return name + found[0], found[1]
    return None


def _is_exact(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False
