"""Request and response bodies of TensorFlow Serving's REST API.

Source: https://www.tensorflow.org/tfx/serving/api_rest; tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.wire.json import dumps
from transforms.clients.wire.json_outputs import INSTANCES
from transforms.clients.wire.outputs import Outputs, classification_outputs
from transforms.clients.wire.tensorflow.example import parse_example
from transforms.errors import MalformedAnswerError
from transforms.types import METHOD_CLASSIFY, Signature


def predict_body(inputs: Mapping[str, np.ndarray], signature: Signature | None, name: str | None) -> bytes:
    """Returns the body of a ``:predict`` request: columnar ``inputs`` for a known signature, otherwise ``instances``.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``. Without a known signature, a sole input called ``instances``
            holds whole instances.
        signature: The signature; ``None`` if the server publishes none.
        name: The name of the signature to ask for; ``None`` for the default one.

    Raises:
        TypeError: A value has no JSON form.
    """
    document: dict[str, Any] = {"signature_name": name} if name else {}
    columns = {key: _column(array) for key, array in inputs.items()}
    if signature is None:
        keys = list(columns)
        lists = [values.tolist() if isinstance(values, np.ndarray) else values for values in columns.values()]
        bare = keys == [INSTANCES]
        document["instances"] = lists[0] if bare else [dict(zip(keys, row, strict=True)) for row in zip(*lists, strict=True)]
    elif len(columns) == 1 and len(signature.inputs) == 1:
        # Without its name, because {"b64": …} would be read as an encoded string.
        (document["inputs"],) = columns.values()
    else:
        document["inputs"] = columns
    return dumps(document)


def _column(array: np.ndarray) -> Any:
    """Returns an array for orjson; bytes as ``{"b64": …}``, which TensorFlow Serving takes for every string input."""
    if array.dtype.kind in "OSU":
        return _encoded(array.tolist())
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")) if array.ndim else array.item()


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return value


def examples_body(records: Sequence[bytes], name: str | None) -> bytes:
    """Returns the body of a ``:classify`` or ``:regress`` request from serialized ``tf.Example`` records.

    Raises:
        ValueError: A record is not a ``tf.Example``.
    """
    document: dict[str, Any] = {"signature_name": name} if name else {}
    document["examples"] = [
        {feature: _encoded(values) for feature, values in parse_example(record).items()} for record in records
    ]
    return dumps(document)


def read_results(document: Any, method: str) -> Outputs:
    """Returns the outputs of an answer to ``:classify`` (``classes``, ``scores``) or ``:regress`` (``value``).

    Raises:
        MalformedAnswerError: The answer has another form.
    """
    results = document.get("results") if isinstance(document, dict) else None
    try:
        if isinstance(results, list) and method == METHOD_CLASSIFY:
            return classification_outputs([[(str(label), float(score)) for label, score in row] for row in results])
        if isinstance(results, list):
            return {"value": np.array([float(value) for value in results], np.float32)}
    except (TypeError, ValueError, OverflowError) as error:  # an integer beyond float64 is the last
        raise MalformedAnswerError("the results are not of the form that the method answers") from error
    raise MalformedAnswerError("the answer has no list of results")
