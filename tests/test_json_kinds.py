"""What messages call the kinds of JSON values: alike wherever a value came from, and never by the value."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from transforms.clients.open_inference.tensors import from_data
from transforms.clients.wire.json_outputs import read_outputs
from transforms.errors import MalformedAnswerError
from transforms.formats.casting import Caster, FieldMismatch
from transforms.formats.output_values import OutputMismatchError, as_list
from transforms.json_kinds import json_kind
from transforms.types import TensorSpec

KINDS: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "a bool"),
    (7, "an integer"),
    (0.5, "a number"),
    (Decimal("0.5"), "a number"),
    (math.nan, "NaN"),
    (-math.inf, "an infinity"),
    ("hunter2", "a string"),
    ([1, 2], "a list of 2"),
    ({"a": 1}, "an object"),
    ({"b64": "YQ=="}, "a b64 object"),
    (b"a", "bytes"),
    ({1}, "something that JSON does not have"),
]


@pytest.mark.parametrize(("value", "kind"), KINDS)
def test_the_kind_of_a_value(value: Any, kind: str) -> None:
    assert json_kind(value) == kind


@pytest.mark.parametrize(("value", "kind"), [KINDS[0], KINDS[1], KINDS[9]])
def test_records_answers_and_predictions_name_them_alike(value: Any, kind: str) -> None:
    with pytest.raises(FieldMismatch, match=f"came {kind}"):
        Caster("x", TensorSpec("float32", (-1,))).cast_one(value)
    with pytest.raises(MalformedAnswerError, match=f"BYTES came with {kind} among"):
        from_data([value], "BYTES", [1], "y")
    with pytest.raises(MalformedAnswerError, match=f"element 0 is {kind},"):
        read_outputs({"outputs": [value, "a"]}, None)
    with pytest.raises(OutputMismatchError, match=f"^{kind}, not a list"):
        as_list(value)
