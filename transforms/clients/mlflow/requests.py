"""The bodies of requests to MLflow's scoring server.

| form | the rows | for |
|---|---|---|
| ``dataframe_split`` | ``{"columns": […], "data": [[…], …]}`` | a signature of columns |
| ``inputs`` | ``{name: […], …}``, a list an input; a bare list for one without a name | a signature of named tensors |
| ``instances`` | a list of values; of objects by name if there are names | a signature of one tensor without a name |
| ``dataframe_records`` | a list of objects | records that are sent as they are |
| ``input_data`` | Azure ML: a frame with an ``index`` as well, or what ``inputs`` has | Azure ML's endpoints |

Text in UTF-8 is a JSON string; a column of bytes is base64, by the signature alone: the server reads no ``{"b64": …}``.

Source: mlflow/pyfunc/scoring_server/__init__.py and mlflow/utils/proto_json_utils.py (MLflow 3.17); for Azure ML
https://learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from transforms.clients.mlflow.uri import DATAFRAME_RECORDS, INPUT_DATA
from transforms.clients.mlmodel import DATAFRAME_SPLIT, INPUTS, INSTANCES, MlflowSignature
from transforms.types import Signature


def form_of(signature: Signature) -> str:
    """Returns the form that fits a signature.

    A file of ours does not say whether its inputs are columns: they are if each has one value a row.
    """
    if isinstance(signature, MlflowSignature):
        return signature.form
    if list(signature.inputs) == [INSTANCES]:
        return INSTANCES
    in_a_table = all(spec.shape is None or len(spec.shape) == 1 for spec in signature.inputs.values())
    return DATAFRAME_SPLIT if in_a_table else INPUTS


def request_document(form: str, inputs: Mapping[str, np.ndarray], signature: Signature | None) -> dict[str, Any]:
    """Returns the document of a request.

    Args:
        form: One of ``uri.FORMS``.
        inputs: Input name to an array of shape ``[rows, …]``, or ``[]`` for a scalar. The sole input ``instances`` holds
            values without a name; without a signature, whole records.
        signature: The signature; ``None`` if there is none.

    Raises:
        ValueError: The values have no place in this form; the message does not repeat them.
    """
    binary = signature.binary_inputs if isinstance(signature, MlflowSignature) else frozenset()
    names = [name for name in (signature.inputs if signature is not None else inputs) if name in inputs]
    values = {name: _values(name, inputs[name], name in binary) for name in names}
    bare = values[INSTANCES] if names == [INSTANCES] else None
    if form == INSTANCES:
        return {INSTANCES: _objects(values) if bare is None else _as_list(bare)}
    if form == INPUTS:
        return {INPUTS: values if bare is None else bare}
    if form == DATAFRAME_RECORDS:
        return {DATAFRAME_RECORDS: _objects(values) if bare is None else _records(bare, form)}
    table = {name: _as_list(column) for name, column in values.items()} if bare is None else _table(_as_list(bare))
    if form == DATAFRAME_SPLIT:
        if table is None:
            table = {"0": _as_list(bare)}  # pandas' name of the sole column without one
        return {DATAFRAME_SPLIT: _frame(table)}
    assert form == INPUT_DATA
    if signature is not None and form_of(signature) != DATAFRAME_SPLIT:
        return {INPUT_DATA: values if bare is None else bare}
    if table is None:
        return {INPUT_DATA: bare}
    frame = _frame(table)
    return {INPUT_DATA: {**frame, "index": list(range(len(frame["data"])))}}


def _frame(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}


def _objects(columns: Mapping[str, Any]) -> list[Any]:
    rows = zip(*map(_as_list, columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _records(rows: Any, form: str) -> list[Any]:
    records = _as_list(rows)
    if not all(isinstance(record, dict) for record in records):
        raise ValueError(f"form={form} takes records that are objects")
    return records


def _table(rows: list[Any]) -> dict[str, list[Any]] | None:
    """Returns whole records as columns, null where a record has no such field; ``None`` if they are no objects."""
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _as_list(values: Any) -> list[Any]:
    """A scalar is the one row of its request."""
    return values if isinstance(values, list) else [values]


def _values(name: str, array: np.ndarray, is_binary: bool) -> Any:
    values = array.tolist()
    return _plain(name, values, is_binary) if array.dtype.kind in "OSU" else values


def _plain(name: str, value: Any, is_binary: bool) -> Any:
    if isinstance(value, bytes):
        if is_binary:
            return base64.b64encode(value).decode()
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"input {name}: has bytes that are no UTF-8 text, and --signature does not say that it is binary, "
                "as the model's MLmodel file can"
            ) from None
    if isinstance(value, np.ndarray | np.generic):
        return _plain(name, value.tolist(), is_binary)
    if isinstance(value, list):
        return [_plain(name, item, is_binary) for item in value]
    return value
