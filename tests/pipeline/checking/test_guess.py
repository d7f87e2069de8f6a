"""``--guess_signature``: the file made of records, and that the job reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.checking.guess import UNKNOWN, guess_signature
from tests.formats.decoding import records
from tests.pipeline.checking.checking import Checking
from transforms.clients.declared import parse_signature
from transforms.errors import ConfigError, ContractError
from transforms.formats.options import FormatOptions
from transforms.stages import DecodeConfig
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import TensorSpec


def guessed(*values: Any, **options: Any) -> dict[str, str]:
    """Input name to its spec as text, with a ``?`` behind an optional one."""
    raw = [value if type(value) is bytes else json.dumps(value).encode() for value in values]
    found = guess_signature(DecodeConfig(UNKNOWN, "json", formats=FormatOptions(**options)), records(*raw)).signature
    return {name: f"{spec}{'?' if spec.has_default else ''}" for name, spec in found.inputs.items()}


@pytest.mark.parametrize(
    ("values", "inputs"),
    [
        ([{"a": 1, "b": 1.5, "c": "x", "d": True}], {"a": "int64[?]", "b": "float32[?]", "c": "string[?]", "d": "bool[?]"}),
        ([{"a": 1}, {"a": 1.5}], {"a": "float32[?]"}),
        ([{"a": 1}, {"b": None}, b"no json"], {"a": "int64[?]?"}),
        ([{"x": [1, 2]}, {"x": [3, 4.5]}], {"x": "float32[?,2]"}),
        ([{"x": [1, 2]}, {"x": [3]}], {"x": "int64[?,?]"}),
        ([{"x": [[1], [2, 3]]}], {"x": "int64[?,2,?]"}),
        ([{"x": {"b64": "AA=="}}], {"x": "string[?]"}),
        ([[1.5, 2], [3, 4]], {"x": "float32[?,2]"}),
        (["text"], {"x": "string[?]"}),
    ],
)
def test_what_the_records_have(values: list[Any], inputs: dict[str, str]) -> None:
    assert guessed(*values) == inputs


GOOD: tuple[Any, ...] = ({"a": 1, "b": [1, 2]}, {"a": 2.5, "b": [3]}, {"a": 3, "b": [4]})


@pytest.mark.parametrize(
    ("poison", "why"),
    [
        (b"no json", "the value is not JSON: Expecting value at line 1, column 1"),
        (b"", "the value is empty (0 bytes)"),
        ({"a": "x", "b": [1]}, "'a' has string, most others numbers"),
        ({"a": [1], "b": [1]}, "'a' has numbers in lists of 1 dimension, most others numbers"),
        ({"a": {"b": 1}, "b": [1]}, "'a' has an object, most others numbers"),
        ({"a": True, "b": [1]}, "'a' has bool, most others numbers"),
        ({"a": 1, "b": [1, [2]]}, "'b' has lists that no input takes, most others numbers in lists of 1 dimension"),
        ({"a": 1, "b": []}, "'b' has empty lists in lists of 1 dimension, most others numbers in lists of 1 dimension"),
        ([1, 2], "has one value, most others fields"),
    ],
)
def test_a_broken_record_is_left_out_and_told(poison: Any, why: str) -> None:
    """It made the whole guess fail."""
    raw = [value if type(value) is bytes else json.dumps(value).encode() for value in (GOOD[0], poison, *GOOD[1:])]
    found = guess_signature(DecodeConfig(UNKNOWN, "json"), records(*raw))
    assert {name: str(spec) for name, spec in found.signature.inputs.items()} == {"a": "float32[?]", "b": "int64[?,?]"}
    assert (found.left_out, found.why) == (1, f"t/0/1: {why}")


def test_the_fields_that_features_take() -> None:
    order = {"order": {"amount": 3, "lines": [1, 2]}}
    assert guessed(order, features=(("amount", "$.order.amount|number"),)) == {"amount": "int64[?]"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([b"{"], "none of the 1 records read is readable: the value is not JSON"),
        ([{}], "the records have no fields"),
        ([{"a": {"b": 1}}], "'a' has an object, which no input takes; name what the model takes by --features"),
        ([{"a": 1}, {"a": "x"}], "'a' has int64 and string"),
        ([{"a": 1}, {"a": True}], "'a' has bool and int64"),
        ([{"a": 1}, {"a": [1]}], "'a' is a list in some records only"),
        ([{"a": [1, [2]]}], "'a' has lists of different depth"),
        ([{"a": []}], "'a' has empty lists"),
        ([{"a": [None]}], "'a' has null"),
    ],
)
def test_what_has_no_form_as_an_input_is_named(values: list[Any], problem: str) -> None:
    with pytest.raises(ContractError) as caught:
        guessed(*values)
    assert str(caught.value).startswith(f"--guess_signature: {problem}")


def test_with_a_prompt_there_is_nothing_to_guess() -> None:
    with pytest.raises(ContractError, match="with --prompt the model takes one text; write yourself: "):
        guessed({"text": "a"}, prompt="{{ text }}")


def test_from_a_refused_server_to_one_that_fits(checking: Checking, tmp_path: Path) -> None:
    """The error names the flag, the check writes the file, and with it the same server is taken."""
    file = tmp_path / "signature.json"
    checking.produce(b'{"x":[1,2.5]}', b'{"x":[3,4]}')
    with TfServingGrpcStub() as stub:
        stub.describes = False
        uri = f"--model={stub.uri()}"
        assert checking.run(uri, "--sample=2") == 2
        assert "GetModelMetadata" in checking.errors
        assert checking.run(uri, f"--guess_signature={file}") == 0
        assert "x: float32[?,2]" in checking.printed
        assert f"then give --signature={file} in place" in checking.printed
        assert parse_signature(file.read_text()).inputs == {"x": TensorSpec("float32", (-1, 2))}
        assert checking.run(uri, f"--signature={file}", "--sample=2", "--try") == 0
        assert "2 records read, 2 fit" in checking.printed
        assert 'answer     {"y":[' in checking.printed
    with pytest.raises(ConfigError, match="is there already; remove it"):
        checking.run(uri, f"--guess_signature={file}")
    file.write_text('{"inputs": {"x": {"dtype": "float"}}}')
    with pytest.raises(ConfigError, match=rf"--signature={file}: inputs\.x\.dtype: must be one of"):
        checking.run(uri, f"--signature={file}")


def test_a_topic_without_records(checking: Checking, tmp_path: Path) -> None:
    assert checking.run("--model=grpc://127.0.0.1:1/m", f"--guess_signature={tmp_path / 's.json'}") == 2
    assert "--guess_signature: the topics have no records to look at" in checking.errors
