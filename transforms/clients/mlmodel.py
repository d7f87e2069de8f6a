"""``read_mlmodel``: the signature in the ``MLmodel`` file of an MLflow model.

The file is YAML; the inputs and outputs in it are JSON, as ``mlflow.types.Schema`` writes them: columns of a table
(``{"type": "double", "name": "amount", "required": true}``) or tensors (``{"type": "tensor", "tensor-spec": …}``).

A column is an input with one value a row. Where names are missing there is mostly one input or output: it is called
``instances`` or ``predictions``, as other values that have no name. Several are called by their place: ``0``, ``1``.

Source: https://mlflow.org/docs/latest/ml/model/signatures/; mlflow/types/schema.py.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from transforms.clients.checked import DTYPES
from transforms.printable import shortened
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

DATAFRAME_SPLIT = "dataframe_split"
INPUTS = "inputs"
INSTANCES = "instances"
"""Three of the forms in which MLflow's server takes rows, and the name of the sole input without a name."""

PREDICTIONS = "predictions"
"""The name of the sole output without a name."""

NAME = "serving_default"

_BINARY = "binary"
_COLUMNS = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "datetime": "string",  # text of a date and time, which the server parses
    _BINARY: "string",
}
_TEXT_TENSORS = ("str", "object", "bytes")
_KEY = re.compile(r"^(signature|flavors):", re.MULTILINE)
_MAX_DEPTH = 20

AS_THEY_ARE = "?form=dataframe_records"


@dataclasses.dataclass(frozen=True, slots=True)
class MlflowSignature(Signature):
    """A signature that came from an ``MLmodel`` file.

    Attributes:
        form: The form of requests that fits it: ``dataframe_split``, ``inputs`` or ``instances``.
        binary_inputs: Names of the columns of bytes, which travel as base64; other strings are text.
        binary_outputs: The same of the outputs.
    """

    form: str = DATAFRAME_SPLIT
    binary_inputs: frozenset[str] = frozenset()
    binary_outputs: frozenset[str] = frozenset()


def is_mlmodel(text: str) -> bool:
    """Whether a text looks like an ``MLmodel`` file."""
    return _KEY.search(text) is not None


def read_mlmodel(text: str) -> MlflowSignature:
    """Reads the content of an ``MLmodel`` file.

    Raises:
        ValueError: It has no signature, or one that no record fits; the message says why, and what to do.
    """
    document = _yaml(text)
    signature = document.get("signature")
    if not isinstance(signature, dict) or not signature.get("inputs"):
        raise ValueError(
            "the MLmodel file has no signature of inputs: save the model with one (signature=infer_signature(…)), "
            f"or leave --signature out and give --model=mlflow+http://…{AS_THEY_ARE}, which sends records as they are"
        )
    inputs = _schema("inputs", signature["inputs"])
    outputs = _schema("outputs", signature["outputs"]) if signature.get("outputs") else []
    named_inputs = _named(inputs, INSTANCES)
    specs = {name: _spec(f"inputs.{name}", column) for name, column in named_inputs.items()}
    named_outputs = _named(outputs, PREDICTIONS)
    return MlflowSignature(
        NAME,
        METHOD_PREDICT,
        specs,
        {name: spec for name, column in named_outputs.items() if (spec := _output_spec(name, column)) is not None},
        form=_form(inputs, document.get("is_signature_from_type_hint") is True),
        binary_inputs=_binary(named_inputs),
        binary_outputs=_binary(named_outputs),
    )


def _yaml(text: str) -> dict[str, Any]:
    try:
        import yaml  # of the extra [cli]: a library that only makes clients does without it
    except ImportError as error:
        raise ValueError("an MLmodel file needs PyYAML: pip install 'kafka-model-scoring[cli]'") from error
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError("is no YAML; give the MLmodel file of the model as MLflow wrote it") from error
    if not isinstance(document, dict):
        raise ValueError("is no MLmodel file: it must have the field signature")
    return document


def _schema(side: str, written: Any) -> list[dict[str, Any]]:
    try:
        columns = json.loads(written)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"signature.{side}: must be a JSON text, as MLflow writes it") from error
    if not isinstance(columns, list) or not columns or not all(isinstance(column, dict) for column in columns):
        raise ValueError(f"signature.{side}: must be a JSON list of columns or tensors")
    return columns


def _named(columns: list[dict[str, Any]], sole: str) -> dict[str, dict[str, Any]]:
    """Returns columns by name, in their order: a table's order is part of its signature."""
    if not any("name" in column for column in columns):
        return {sole if len(columns) == 1 else str(place): column for place, column in enumerate(columns)}
    named = {str(column.get("name")): column for column in columns}
    if len(named) != len(columns):
        raise ValueError("signature: two inputs or outputs have one name, or only some have a name")
    return named


def _form(inputs: list[dict[str, Any]], from_type_hint: bool) -> str:
    if from_type_hint:  # the server takes no other form then
        return INPUTS
    named, tensors = any("name" in column for column in inputs), all(column.get("type") == "tensor" for column in inputs)
    if tensors:
        return INPUTS if named else INSTANCES
    return DATAFRAME_SPLIT if named or len(inputs) > 1 else INPUTS


def _binary(columns: Mapping[str, dict[str, Any]]) -> frozenset[str]:
    return frozenset(name for name, column in columns.items() if _element(column)[0] == _BINARY)


def _element(column: dict[str, Any]) -> tuple[Any, int]:
    """Returns the type of a column's values, and how many lists are around them."""
    depth = 0
    while column.get("type") == "array" and isinstance(column.get("items"), dict) and depth < _MAX_DEPTH:
        column, depth = column["items"], depth + 1
    return column.get("type"), depth


def _output_spec(name: str, column: dict[str, Any]) -> TensorSpec | None:
    """An output without a dtype of ours is left undeclared: its values stay JSON."""
    try:
        return _spec(f"outputs.{name}", column)
    except ValueError:
        return None


def _spec(where: str, column: dict[str, Any]) -> TensorSpec:
    if column.get("type") == "tensor":
        return _tensor(where, column.get("tensor-spec"))
    kind, depth = _element(column)
    dtype = _COLUMNS.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise ValueError(
            f"signature.{where}: is of type {shortened(str(kind))}, and {', '.join(_COLUMNS)} are read, and arrays of them; "
            f"leave --signature out and give --model=mlflow+http://…{AS_THEY_ARE}, which sends records as they are"
        )
    return TensorSpec(dtype, (-1,) * (1 + depth), column.get("required") is False)


def _tensor(where: str, described: Any) -> TensorSpec:
    dtype, shape = (described.get("dtype"), described.get("shape")) if isinstance(described, dict) else (None, None)
    if dtype in _TEXT_TENSORS:
        dtype = "string"
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"signature.{where}: a tensor of {shortened(str(dtype))}; {', '.join(sorted(DTYPES))} are read")
    if not isinstance(shape, list) or not all(type(size) is int and size >= -1 for size in shape):
        raise ValueError(f"signature.{where}: its shape must be a list of sizes, -1 for any")
    return TensorSpec(dtype, tuple(shape))
