"""The signature in an ``MLmodel`` file."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from transforms.clients.declared import parse_signature
from transforms.clients.mlmodel import MlflowSignature, read_mlmodel
from transforms.types import TensorSpec

WRITTEN = """\
flavors:
  python_function:
    loader_module: mlflow.sklearn
is_signature_from_type_hint: false
mlflow_version: 3.17.2
signature:
  inputs: '[{"type": "double", "name": "amount", "required": true}, {"type": "long",
    "name": "age", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
  params: null
"""
"""As MLflow 3.17 writes it, with the line folded inside of the JSON text."""


def column(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, **({} if name is None else {"name": name}), "required": True, **more}


def tensor(dtype: str, *shape: int, name: str | None = None) -> dict[str, Any]:
    return {**({} if name is None else {"name": name}), "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def read(inputs: list[Any], outputs: list[Any] | None = None, **top: Any) -> MlflowSignature:
    signature = {"inputs": json.dumps(inputs), "outputs": None if outputs is None else json.dumps(outputs), "params": None}
    return read_mlmodel(yaml.safe_dump({"signature": signature, "flavors": {}, **top}))


def test_an_output_may_be_optional() -> None:
    found = read([column("double", "a")], [column("double", "score"), column("string", "reason", required=False)])
    assert [spec.has_default for spec in found.outputs.values()] == [False, True]


def test_a_file_as_mlflow_writes_it() -> None:
    found = parse_signature(WRITTEN)
    assert isinstance(found, MlflowSignature)
    assert list(found.inputs.items()) == [  # in the model's order, which is part of a table
        ("amount", TensorSpec("float64", (-1,))),
        ("age", TensorSpec("int64", (-1,), has_default=True)),
    ]
    assert found.outputs == {"predictions": TensorSpec("float64", (-1,))}
    assert found.form == "dataframe_split"


@pytest.mark.parametrize(
    ("inputs", "form", "specs"),
    [
        ([tensor("float32", -1, 28, 28)], "instances", {"instances": TensorSpec("float32", (-1, 28, 28))}),
        (
            [tensor("float32", -1, 2, name="b"), tensor("str", -1, name="a")],
            "inputs",
            {"b": TensorSpec("float32", (-1, 2)), "a": TensorSpec("string", (-1,))},
        ),
        ([column("string")], "inputs", {"instances": TensorSpec("string", (-1,))}),
        (
            [column("float"), column("boolean")],
            "dataframe_split",
            {"0": TensorSpec("float32", (-1,)), "1": TensorSpec("bool", (-1,))},
        ),
        (
            [column("array", "words", items={"type": "array", "items": {"type": "string"}})],
            "dataframe_split",
            {"words": TensorSpec("string", (-1, -1, -1))},
        ),
    ],
)
def test_the_form_of_requests(inputs: list[Any], form: str, specs: dict[str, TensorSpec]) -> None:
    """Columns make a table, tensors lists; a sole input without a name has the name of values that have none."""
    found = read(inputs)
    assert (found.form, dict(found.inputs), dict(found.outputs)) == (form, specs, {})


def test_a_signature_of_type_hints() -> None:
    """The server takes one form then."""
    assert read([column("long", "n")], is_signature_from_type_hint=True).form == "inputs"


def test_bytes_and_dates() -> None:
    found = read([column("binary", "image"), column("datetime", "at")], [column("binary", "image")])
    assert set(found.inputs.values()) == {TensorSpec("string", (-1,))}
    assert found.binary_inputs == found.binary_outputs == frozenset({"image"})


def test_an_output_of_a_type_that_we_do_not_have_is_left_open() -> None:
    outputs = [column("object", "nested", properties={"a": {"type": "long"}}), column("long", "n")]
    assert read([column("long", "n")], outputs).outputs == {"n": TensorSpec("int64", (-1,))}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("flavors:\n  x: [", "is no YAML"),
        ("flavors: {}\n", "has no signature of inputs: save the model with one"),
        ("flavors: {}\nsignature: {inputs: null}\n", "has no signature of inputs"),
        ("signature: {inputs: 7}\n", "signature.inputs: must be a JSON text"),
        ("signature: {inputs: '[1]'}\n", "signature.inputs: must be a JSON list of columns or tensors"),
        ('signature: {inputs: \'[{"type": "map", "name": "m"}]\'}\n', "signature.inputs.m: is of type map"),
        ("signature: {inputs: '[{\"type\": [1]}]'}\n", "signature.inputs.instances: is of type [1]"),
        ('signature: {inputs: \'[{"type": "tensor"}]\'}\n', "a tensor of None"),
        ("x: 1\n", "is no JSON; give a file such as"),
    ],
)
def test_files_that_can_not_be_used(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is what is looked at
        parse_signature(text)
    assert problem in str(caught.value)


def test_a_file_that_can_not_be_used_says_what_can_be_done() -> None:
    with pytest.raises(ValueError, match=r"leave --signature out .*\?form=dataframe_records"):
        read([column("object", "nested", properties={})])


def test_two_columns_of_one_name() -> None:
    with pytest.raises(ValueError, match="two inputs or outputs have one name"):
        read([column("long", "n"), column("long", "n")])
