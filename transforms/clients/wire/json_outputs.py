"""Reads answers in the JSON forms of TensorFlow Serving's REST API.

``{"outputs": …}`` is columnar; ``{"predictions": […]}`` has one entry per row. KServe V1 and Vertex AI use the second.
Source: https://www.tensorflow.org/tfx/serving/api_rest; tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from transforms.clients.wire.json import text_bytes
from transforms.clients.wire.outputs import Outputs
from transforms.errors import MalformedAnswerError
from transforms.json_kinds import is_b64, json_kind
from transforms.types import Signature

INSTANCES = "instances"
"""The name of the only input if the server publishes no signature. Each row of it is one whole JSON instance."""

PREDICTIONS = "predictions"
"""The name of an output that has no name in the answer, such as KServe V1's bare values."""

_EXACT = 2.0**53
"""Integers up to it are the same as float64."""


def read_outputs(document: Any, signature: Signature | None) -> Outputs:
    """Returns the outputs of an answer to ``:predict``, in either form.

    Args:
        document: The parsed body.
        signature: The signature; ``None`` if it is not known.

    Returns:
        Output name to its values: arrays of the signature's dtypes. Without a signature, the rows of ``predictions`` stay
        JSON values: objects that all have the same names become one output per name, anything else is the output
        ``predictions``.

    Raises:
        MalformedAnswerError: The answer has neither form, or its values do not fit the signature's dtypes.
    """
    if not isinstance(document, dict):
        raise MalformedAnswerError("the answer is no JSON object")
    if "outputs" in document:
        values = document["outputs"]
        named = values if isinstance(values, dict) and not is_b64(values) else {_sole_name(signature): values}
        return {name: array_of(name, named[name], signature) for name in sorted(named)}
    rows = document.get("predictions")
    if not isinstance(rows, list):
        raise MalformedAnswerError("the answer has neither outputs nor a list of predictions")
    columns = columns_of(rows, _sole_name(signature))
    if signature is None:
        return dict(columns)
    return {name: array_of(name, values, signature) for name, values in columns.items()}


def columns_of(rows: list[Any], sole_name: str) -> dict[str, list[Any]]:
    """Returns one output per name of rows that are objects of the same names; of others, the one output ``sole_name``."""
    if rows and all(isinstance(row, dict) and row.keys() == rows[0].keys() and not is_b64(row) for row in rows):
        return {name: [row[name] for row in rows] for name in sorted(rows[0])}
    return {sole_name: rows}


def _sole_name(signature: Signature | None) -> str:
    names = list(signature.outputs) if signature is not None else []
    return names[0] if len(names) == 1 else PREDICTIONS


def array_of(name: str, value: Any, signature: Signature | None) -> np.ndarray:
    """Returns the values of one output as an array of the dtype that the signature declares.

    If it declares none, integers keep their digits: the array holds Python's numbers where no dtype has them all.

    Args:
        name: The output's name.
        value: A JSON value, or lists of them, in which there may be bytes.
        signature: The signature; ``None`` if it is not known.

    Raises:
        MalformedAnswerError: The values do not fit the dtype, or the rows have different shapes.
    """
    spec = signature.outputs.get(name) if signature is not None else None
    declared = spec.dtype if spec is not None else None
    try:
        values = np.array(value)
    except ValueError as error:  # lists of different lengths
        raise MalformedAnswerError(f"output {name}: its rows have different shapes") from error
    if values.dtype.kind == "O" and declared != "string" and set(map(type, values.ravel().tolist())) <= {int, float}:
        if declared is None:
            return values  # integers beyond 64 bits, with all digits
        try:
            values = values.astype(np.float64)
        except OverflowError as error:
            message = f"output {name}: has an integer beyond float64, which does not fit the declared {declared}"
            raise MalformedAnswerError(message) from error
    if values.dtype.kind in "OUS" or (declared == "string" and not values.size):
        if declared not in (None, "string"):
            raise MalformedAnswerError(f"output {name}: has values which are no numbers; the signature declares {declared}")
        return _strings(name, value)
    if declared is None:
        return _with_all_digits(value, values) if values.dtype.kind == "f" else values
    if declared == "string":
        raise MalformedAnswerError(f"output {name}: has numbers, but the signature declares string")
    return _cast(name, value, values, declared)


def _with_all_digits(value: Any, values: np.ndarray) -> np.ndarray:
    """The numbers themselves, if NumPy has rounded an integer that came with floats, or with one of the other sign."""
    large = (np.abs(values) >= _EXACT) & np.isfinite(values)
    if large.any():  # seldom, and only then are the numbers looked at one by one
        numbers = np.array(value, dtype=object)
        if any(type(number) is int and abs(number) > _EXACT for number in numbers[large].tolist()):
            return numbers
    return values


def _strings(name: str, value: Any) -> np.ndarray:
    values = np.array(value, dtype=object)
    strings = np.empty(values.size, dtype=object)
    for index, item in enumerate(values.ravel().tolist()):
        if isinstance(item, bytes):
            strings[index] = item
        elif isinstance(item, str):
            strings[index] = text_bytes(item, f"output {name}: element {index}")
        elif is_b64(item) and isinstance(item["b64"], str):
            try:
                strings[index] = base64.b64decode(item["b64"], validate=True)
            except ValueError as error:
                raise MalformedAnswerError(f"output {name}: element {index} is no base64") from error
        else:
            raise MalformedAnswerError(f"output {name}: element {index} is {json_kind(item)}, neither text nor b64")
    return strings.reshape(values.shape)


def _cast(name: str, value: Any, values: np.ndarray, declared: str) -> np.ndarray:
    try:
        dtype = np.dtype("float32" if declared == "bfloat16" else declared)
    except TypeError as error:
        raise MalformedAnswerError(f"output {name}: {declared} has no form in JSON") from error
    if not values.size or values.dtype == dtype:
        return values.astype(dtype)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        # If an integer does not fit int64, NumPy has made floats of all of them: use the original numbers.
        numbers = np.array(value, dtype=object)
        whole = [int(n) if isinstance(n, int) or n.is_integer() else None for n in numbers.ravel().tolist()]
        limits = np.iinfo(dtype)
        if all(n is not None and limits.min <= n <= limits.max for n in whole):
            return np.array(whole, dtype).reshape(values.shape)
    elif values.dtype.kind in {"b": "b", "f": "iuf", "i": "iu", "u": "iu"}.get(dtype.kind, ""):
        with np.errstate(all="ignore"):  # a float64 beyond float32's range becomes infinite, as on the server
            cast = values.astype(dtype)
        if dtype.kind not in "iu" or (cast == values).all():
            return cast
    raise MalformedAnswerError(f"output {name}: came as {values.dtype}, which does not fit the declared {declared}")
