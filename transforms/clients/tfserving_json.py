"""Bodies of TensorFlow Serving's REST API: requests from arrays, answers to arrays.

Source: https://www.tensorflow.org/tfx/serving/api_rest; tensorflow_serving/util/json_tensor.cc. The bodies are nearly JSON:
NaN, Infinity and -Infinity stand bare, and strings need not be UTF-8.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from transforms.clients.tf_example import parse_example
from transforms.clients.tfserving_answer import Outputs, classification_outputs
from transforms.errors import MalformedAnswerError
from transforms.types import METHOD_CLASSIFY, Signature

INSTANCES = "instances"
"""The name of the sole input where the server publishes no signature: each row is a whole instance, as it came."""

PREDICTIONS = "predictions"
"""The name of an output whose name the server does not tell: KServe V1's bare values."""


def loads(body: bytes) -> Any:
    """Parses a body.

    Raises:
        ValueError: It is not JSON, not even with bare NaN and Infinity, or too deeply nested.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def dumps(document: Any) -> bytes:
    """Serializes a document, which may hold C-contiguous arrays of numbers; NaN and infinities stand bare.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes what JSON lacks as null. Without a null there was none, and nulls are rare enough to look again.
    return json.dumps(document, default=_plain).encode() if b"null" in body else body


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def predict_body(inputs: Mapping[str, np.ndarray], signature: Signature | None, name: str | None) -> bytes:
    """Returns the body of a ``:predict`` request: columnar (``inputs``) for a known signature, else ``instances``.

    Args:
        inputs: Input name to array. Without a known signature, a sole input called ``instances`` holds whole instances.
        signature: The signature; ``None`` if the server publishes none.
        name: The signature's name to ask for, if any.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    document: dict[str, Any] = {"signature_name": name} if name else {}
    columns = {key: _column(array) for key, array in inputs.items()}
    if signature is None:
        keys = list(columns)
        lists = [values.tolist() if isinstance(values, np.ndarray) else values for values in columns.values()]
        bare = keys == [INSTANCES]
        document["instances"] = lists[0] if bare else [dict(zip(keys, row, strict=True)) for row in zip(*lists, strict=True)]
    elif len(columns) == 1 and len(signature.inputs) == 1:
        # Without its name: an input called b64 would be taken for an encoded string.
        (document["inputs"],) = columns.values()
    else:
        document["inputs"] = columns
    return dumps(document)


def _column(array: np.ndarray) -> Any:
    """An array as orjson takes it; bytes as ``{"b64": …}``, which TensorFlow Serving reads for every string input."""
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
        ValueError: A record is no ``tf.Example``.
    """
    document: dict[str, Any] = {"signature_name": name} if name else {}
    document["examples"] = [
        {feature: _encoded(values) for feature, values in parse_example(record).items()} for record in records
    ]
    return dumps(document)


def read_outputs(document: Any, signature: Signature | None) -> Outputs:
    """Returns the outputs of an answer to ``:predict``, in either form, with the signature's dtypes where it is known.

    Without a signature, values stay as JSON has them: ``predictions`` of objects with the same names become outputs of these
    names, anything else one output called ``predictions``.

    Raises:
        MalformedAnswerError: It has neither form, or values of another kind than the signature's.
    """
    if not isinstance(document, dict):
        raise MalformedAnswerError("the answer is no JSON object")
    if "outputs" in document:
        values = document["outputs"]
        named = values if isinstance(values, dict) and not _is_b64(values) else {_sole_name(signature): values}
        return {name: _array(name, named[name], signature) for name in sorted(named)}
    rows = document.get("predictions")
    if not isinstance(rows, list):
        raise MalformedAnswerError("the answer has neither outputs nor a list of predictions")
    columns: dict[str, list[Any]] = {_sole_name(signature): rows}
    if rows and all(isinstance(row, dict) and row.keys() == rows[0].keys() and not _is_b64(row) for row in rows):
        columns = {name: [row[name] for row in rows] for name in sorted(rows[0])}
    if signature is None:
        return dict(columns)
    return {name: _array(name, values, signature) for name, values in columns.items()}


def _sole_name(signature: Signature | None) -> str:
    names = list(signature.outputs) if signature is not None else []
    return names[0] if len(names) == 1 else PREDICTIONS


def read_results(document: Any, method: str) -> Outputs:
    """Returns the outputs of an answer to ``:classify`` (``classes``, ``scores``) or ``:regress`` (``value``).

    Raises:
        MalformedAnswerError: It has another form.
    """
    results = document.get("results") if isinstance(document, dict) else None
    try:
        if isinstance(results, list) and method == METHOD_CLASSIFY:
            return classification_outputs([[(str(label), float(score)) for label, score in row] for row in results])
        if isinstance(results, list):
            return {"value": np.array([float(value) for value in results], np.float32)}
    except (TypeError, ValueError) as error:
        raise MalformedAnswerError("the results are not of the form that the method answers") from error
    raise MalformedAnswerError("the answer has no list of results")


def _is_b64(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"}


def _array(name: str, value: Any, signature: Signature | None) -> np.ndarray:
    spec = signature.outputs.get(name) if signature is not None else None
    declared = spec.dtype if spec is not None else None
    try:
        values = np.array(value)
    except ValueError as error:  # lists of different lengths
        raise MalformedAnswerError(f"output {name}: its rows have different shapes") from error
    if values.dtype.kind in "OU" or (declared == "string" and not values.size):
        if declared not in (None, "string"):
            raise MalformedAnswerError(f"output {name}: has values which are no numbers; the signature declares {declared}")
        return _strings(name, value)
    if declared is None:
        return values
    if declared == "string":
        raise MalformedAnswerError(f"output {name}: has numbers, but the signature declares string")
    return _cast(name, value, values, declared)


def _strings(name: str, value: Any) -> np.ndarray:
    values = np.array(value, dtype=object)
    strings = np.empty(values.size, dtype=object)
    for index, item in enumerate(values.ravel().tolist()):
        if isinstance(item, str):
            strings[index] = item.encode("utf-8", "surrogateescape")
        elif isinstance(item, dict) and _is_b64(item) and isinstance(item["b64"], str):
            try:
                strings[index] = base64.b64decode(item["b64"], validate=True)
            except ValueError as error:
                raise MalformedAnswerError(f"output {name}: element {index} is no base64") from error
        else:
            raise MalformedAnswerError(f"output {name}: element {index} is a {type(item).__name__}, neither text nor b64")
    return strings.reshape(values.shape)


def _cast(name: str, value: Any, values: np.ndarray, declared: str) -> np.ndarray:
    try:
        dtype = np.dtype("float32" if declared == "bfloat16" else declared)
    except TypeError as error:
        raise MalformedAnswerError(f"output {name}: {declared} has no form in JSON") from error
    if not values.size or values.dtype == dtype:
        return values.astype(dtype)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        # NumPy turns ints of which some are beyond int64 into floats: go back to the numbers as they came.
        numbers = np.array(value, dtype=object)
        whole = [int(n) if isinstance(n, int) or n.is_integer() else None for n in numbers.ravel().tolist()]
        limits = np.iinfo(dtype)
        if all(n is not None and limits.min <= n <= limits.max for n in whole):
            return np.array(whole, dtype).reshape(values.shape)
    elif values.dtype.kind in {"b": "b", "f": "iuf", "i": "iu", "u": "iu"}.get(dtype.kind, ""):
        with np.errstate(all="ignore"):  # a float64 beyond float32 is infinite there, as it was for the server
            cast = values.astype(dtype)
        if dtype.kind not in "iu" or (cast == values).all():
            return cast
    raise MalformedAnswerError(f"output {name}: came as {values.dtype}, which does not fit the declared {declared}")
