"""Checks an answer against the outputs that ``--signature`` declares: none is missing, and their rows have the shapes.

The dtypes were checked when the outputs were read. A server that describes its model contradicts itself seldom; a file is
written by hand, and may be of another version of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.selection import OWN_OUTPUTS
from transforms.clients.wire.json_outputs import PREDICTIONS
from transforms.clients.wire.outputs import is_per_row
from transforms.errors import MalformedAnswerError
from transforms.printable import listed
from transforms.types import Signature, TensorSpec


def check_declared(outputs: Mapping[str, Sequence[Any] | np.ndarray], signature: Signature, names: Sequence[str]) -> None:
    """Checks the outputs of an answer, which have one value a row.

    Args:
        outputs: Output name to its values.
        signature: The model's.
        names: Those of its outputs that the file declares and that are wanted. Classify and Regress answer with outputs of
            their own, whatever is declared.

    Raises:
        MalformedAnswerError: One is missing that an answer must have, or has another shape; the message names it, what is
            declared and what came.
    """
    if signature.method in OWN_OUTPUTS:
        return
    rows = _objects(outputs, signature)
    for name in names:
        spec = signature.outputs[name]
        there = name in outputs or (rows is not None and all(name in row for row in rows))
        if not there and not spec.has_default:
            has = outputs if rows is None else set[str]().union(*rows)
            raise MalformedAnswerError(
                f"the answer has no output {name}, which --signature declares ({spec}); it has {listed(sorted(has))}"
            )
        values = outputs.get(name)
        if spec.shape is None or not isinstance(values, np.ndarray):
            continue
        row, declared = values.shape[1:], [spec.shape[1:]]
        if signature.has_scalar or is_per_row(signature, name) is False:
            declared.append(spec.shape)
        if not any(_fits(row, shape) for shape in declared):
            came = TensorSpec(spec.dtype, (-1, *row))
            raise MalformedAnswerError(f"output {name} came as {came}, but --signature declares {spec}")


def _objects(outputs: Mapping[str, Sequence[Any] | np.ndarray], signature: Signature) -> list[dict[str, Any]] | None:
    """Returns an object for each row, by the names of outputs, where an answer has these; ``None`` if it has columns.

    That is how rows come that do not all have the same outputs.
    """
    if list(outputs) != [PREDICTIONS] or PREDICTIONS in signature.outputs:
        return None
    rows = list(outputs[PREDICTIONS])
    return rows if all(isinstance(row, dict) for row in rows) else None


def _fits(row: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """One value is the same however many lists it stands in."""
    if set(row) <= {1} and set(declared) <= {1, -1}:
        return len(row) == len(declared) or set(declared) <= {1}
    return len(row) == len(declared) and all(size in (-1, came) for size, came in zip(declared, row, strict=True))
