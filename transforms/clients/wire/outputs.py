"""What both of TensorFlow Serving's protocols check of an answer before it counts as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.errors import MalformedAnswerError
from transforms.types import Signature

Outputs = dict[str, Sequence[Any] | np.ndarray]


def check_outputs(
    outputs: Mapping[str, Sequence[Any] | np.ndarray],
    rows: int,
    signature: Signature | None,
    scalar_inputs: bool,
    where: str,
) -> Outputs:
    """Returns the outputs with one row for each row of the request.

    A signature without a batch dimension (scalar inputs, or none at all) answers for the one row: each output is wrapped
    in a row. Otherwise a scalar is taken for the answer of a single row, and every output must have the rows of the request.

    Args:
        outputs: Output name to its values.
        rows: How many rows were sent.
        signature: The signature, if it is known: its outputs' dtypes must be answered, at least in kind.
        scalar_inputs: Whether no input has a dimension.
        where: The model and its address, for the message.

    Raises:
        MalformedAnswerError: They can't be matched to the rows of the request, or are of another kind of dtype.
    """
    if not outputs:
        raise MalformedAnswerError(f"{where}: the answer has no outputs")
    checked: Outputs = {}
    for name, values in outputs.items():
        if isinstance(values, np.ndarray):
            if signature is not None and name in signature.outputs:
                _check_kind(name, values.dtype, signature.outputs[name].dtype, where)
            if rows == 1 and (scalar_inputs or values.ndim == 0):
                checked[name] = values[np.newaxis]
                continue
            if values.ndim == 0:
                raise MalformedAnswerError(f"{where}: output {name} is a scalar, without a batch dimension, for {rows} rows")
        if len(values) != rows:
            raise MalformedAnswerError(f"{where}: output {name} has {len(values)} rows for a request of {rows}")
        checked[name] = values
    return checked


def _check_kind(name: str, dtype: np.dtype[Any], declared: str, where: str) -> None:
    """A float for a float of another width is no mistake to stop for; a float for an int, or text for a number, is."""
    expected = np.dtype(object) if declared == "string" else _NUMPY.get(declared)
    if expected is None or dtype == expected:
        return
    if dtype.kind == "O" or expected.kind == "O" or not np.can_cast(dtype, expected, "same_kind"):
        came = "string" if dtype.kind == "O" else str(dtype)
        raise MalformedAnswerError(f"{where}: output {name} came as {came}, but the signature declares {declared}")


_NUMPY = {
    name: np.dtype("float32" if name == "bfloat16" else name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "bool", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}


def classification_outputs(rows: Sequence[Sequence[tuple[str, float]]]) -> Outputs:
    """Returns a classification's ``classes`` and ``scores``: a list for each row, of as many as the model gave it."""
    return {
        "classes": [[label for label, _ in row] for row in rows],
        "scores": [[score for _, score in row] for row in rows],
    }
