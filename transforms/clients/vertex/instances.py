"""Converts the arrays of a request to Vertex AI's ``instances``: one JSON value per row.

An instance is a ``google.protobuf.Value``. Its numbers are doubles. They hold every float32 and float64 exactly, but not
every integer beyond 2**53, and JSON has no NaN and no infinities.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict.
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
    """Returns one instance per row.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``, or ``[]`` for one row. The values of a sole input called
            ``instances`` are whole instances. Otherwise each instance is an object of the row's values by input name.
    """
    columns = {name: _plain(array.tolist() if array.ndim else [array.item()]) for name, array in inputs.items()}
    if list(columns) in ([INSTANCES], ["b64"]):
        # An object {"b64": …} would be read as encoded bytes, so the sole input b64 is sent without its name.
        (rows,) = columns.values()
        return list(rows)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    """Returns the value with bytes as ``{"b64": …}``, which is TensorFlow Serving's form, and that of most containers."""
    kind = type(value)
    if kind is bytes:
        return {"b64": base64.b64encode(value).decode()}
    if kind is list:
        return value if set(map(type, value)) <= {float, int, str, bool} else [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return value


def check(instances: list[Any]) -> None:
    """Checks that Vertex AI receives every value unchanged.

    Raises:
        ValueError: A number is NaN, infinite, or an integer that a double can't hold. The message names the instance, the
            field and the reason, but not the value.
    """
    found = _find(instances)
    if found is not None:
        raise ValueError(f"instance{found[0]} is {found[1]}")


def _find(value: Any) -> tuple[str, str] | None:
    """Returns the path and the fault of the first value that can't be sent. A list of one type is checked as a whole."""
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
