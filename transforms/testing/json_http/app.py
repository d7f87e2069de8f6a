"""What an app of its author's own takes and answers: ``{"rows": [ROW, …]}`` and ``{"result": {"rows": [OUTPUTS, …]}}``, or
one row and its outputs alone.

A row is an object of the inputs by name, or the value of the only one.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from transforms.testing.faults import Fault, StubError
from transforms.testing.http_stub import dump
from transforms.types import Signature, TensorSpec

REQUEST = '{"options": {"trace": false}, "rows": {"$rows": "$row"}}'
RESPONSE = "$.result.rows[*]"
"""The template and the path for its form of many rows; its form of one row needs neither."""


def read_request(body: bytes, signature: Signature) -> tuple[dict[str, np.ndarray], int, bool]:
    """Returns the inputs of a request, how many rows it has, and whether it has the form of many.

    Raises:
        StubError: INVALID_ARGUMENT, 422: the app can't read it.
    """
    try:
        document = json.loads(body)
        many = isinstance(document, dict) and "rows" in document
        return *_inputs(document["rows"] if many else [document], signature), many
    except (KeyError, TypeError, ValueError) as error:
        raise StubError("INVALID_ARGUMENT", f"not what it takes: {type(error).__name__}", http_status=422) from error


def written(outputs: dict[str, Any], fault: Fault | None, signature: Signature, many: bool) -> bytes:
    """Returns the body of an answer.

    Args:
        outputs: The outputs by name, as ``StubServer._respond`` gives them.
        fault: The fault that it gives.
        signature: The model's.
        many: Whether the request had the form of many rows.
    """
    if fault is not None and fault.kind == "malformed":
        return b'{"result": {"rows": ['
    if fault is None and any(spec.shape == () for spec in signature.inputs.values()):
        outputs = {name: np.asarray(value)[np.newaxis] for name, value in outputs.items()}
    answers = _rows(outputs)
    return dump({"result": {"rows": answers}} if many else answers[0] if isinstance(answers, list) and answers else {})


def _inputs(rows: list[Any], signature: Signature) -> tuple[dict[str, np.ndarray], int]:
    named = [row if isinstance(row, dict) else {next(iter(signature.inputs), ""): row} for row in rows]
    columns = {name: [row[name] for row in named] for name in (named[0] if named else ())}
    return {name: _array(values, signature.inputs.get(name)) for name, values in columns.items()}, len(rows)


def _array(values: list[Any], spec: TensorSpec | None) -> np.ndarray:
    if spec is None or spec.dtype == "string":
        return np.array(values, object)
    array = np.array(values, np.dtype(spec.dtype))
    return array[0] if spec.shape == () else array


def _rows(outputs: dict[str, Any]) -> Any:
    plain = {name: np.asarray(values).tolist() for name, values in outputs.items()}
    if not plain:
        return []
    if not all(isinstance(values, list) for values in plain.values()):
        return plain
    return [dict(zip(plain, map(_text, row), strict=True)) for row in zip(*plain.values(), strict=True)]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
