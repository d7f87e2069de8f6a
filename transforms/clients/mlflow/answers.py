"""Answers of MLflow's scoring server: ``{"predictions": …}``; of Azure ML, what stands in it alone.

What stands there is what the model returned: a list of scalars, of lists (an array) or of objects (a table), an object with
a list for each output, or one value. Bytes are base64.

Source: ``_get_jsonable_obj`` and ``NumpyEncoder`` in mlflow/utils/proto_json_utils.py.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.clients.mlmodel import PREDICTIONS, MlflowSignature
from transforms.clients.wire.json_outputs import array_of, columns_of
from transforms.clients.wire.outputs import Outputs
from transforms.errors import MalformedAnswerError
from transforms.types import Signature

_FIRST_COLUMN = "0"
"""pandas' name of a column without one, as JSON has it."""


def predictions_of(document: Any) -> Any:
    """Returns what stands under ``predictions``.

    Raises:
        MalformedAnswerError: There is nothing.
    """
    if not isinstance(document, dict) or PREDICTIONS not in document:
        raise MalformedAnswerError("the answer has no predictions")
    return document[PREDICTIONS]


def read_outputs(predictions: Any, signature: Signature | None) -> Outputs:
    """Returns the outputs by name: arrays where the signature declares them, else JSON values.

    Args:
        predictions: What the model returned, as JSON.
        signature: The signature; ``None`` if there is none.

    Raises:
        MalformedAnswerError: The values do not fit the signature.
    """
    declared = signature.outputs if signature is not None else {}
    sole = next(iter(declared)) if len(declared) == 1 else PREDICTIONS
    named: dict[str, Any]
    if isinstance(predictions, list):
        named = dict(columns_of(predictions, sole))
    elif isinstance(predictions, dict):
        named = {name: predictions[name] for name in sorted(predictions)}
    else:
        named = {sole: predictions}
    if list(named) == [_FIRST_COLUMN] and _FIRST_COLUMN not in declared:
        named = {sole: named[_FIRST_COLUMN]}
    binary = signature.binary_outputs if isinstance(signature, MlflowSignature) else frozenset()
    outputs: Outputs = {}
    for name, value in named.items():
        if name not in declared:
            outputs[name] = _undeclared(value)
        elif name in binary:
            outputs[name] = array_of(name, _decoded(name, value), signature)
        else:
            outputs[name] = array_of(name, value, signature)
    return outputs


def _undeclared(value: Any) -> Sequence[Any] | np.ndarray:
    """A list is perhaps one value a row; anything else is one value, which an array without a dimension is."""
    if isinstance(value, list):
        return value
    one = np.empty((), object)
    one[()] = value
    return one


def _decoded(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(name, item) for item in value]
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (AttributeError, ValueError) as error:
        raise MalformedAnswerError(f"output {name}: has a value that is no base64; the signature says binary") from error
