"""The rows of a request as JSON values, for protocols that send them so."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.wire.json_outputs import INSTANCES


def row_values(inputs: Mapping[str, np.ndarray]) -> list[Any]:
    """Returns one JSON value a row: an object of the row's values by input name.

    The sole input ``instances`` holds whole values: it is sent without its name. Text in UTF-8 becomes a JSON string, other
    bytes ``{"b64": …}``.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``, or ``[]`` for one row.
    """
    columns = {name: column_values(array) for name, array in inputs.items()}
    if list(columns) == [INSTANCES]:
        return columns[INSTANCES]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def column_values(array: np.ndarray) -> list[Any]:
    """Returns one JSON value a row of one input."""
    values: list[Any] = array.tolist() if array.ndim else [array.item()]
    return [_plain(value) for value in values] if array.dtype.kind in "OSU" else values


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def as_instances(rows: Sequence[Any]) -> dict[str, np.ndarray]:
    """Returns whole JSON values as the inputs of a request to a client without a signature."""
    return {INSTANCES: np.fromiter(rows, dtype=object, count=len(rows))}
