"""``--answer_schema``: which schemas can be used, which answers fit, and what is said of those that do not."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from tests.formats.without_package import said_without
from transforms.formats.answer_schema import AnswerSchema, AnswerSchemaError, OffSchemaError
from transforms.formats.bounded_patterns import BoundedPatterns, PatternTimeoutError

pytest.importorskip("fastjsonschema", reason="requirements.txt has it: make .venv/.installed")


ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "fraud": {"type": "boolean"},
        "why": {"type": ["string", "null"]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"price": {"type": "number", "minimum": 0}},
                "additionalProperties": False,
            },
        },
        "kind": {"$ref": "#/$defs/Kind", "description": "of the order"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["fraud"],
    "additionalProperties": {"type": "string"},
    "$defs": {"Kind": {"enum": ["a", "b"]}},
}


def schema(**properties: Any) -> AnswerSchema:
    return AnswerSchema(json.dumps({"type": "object", "properties": properties}))


def test_the_fields_of_an_answer() -> None:
    found = AnswerSchema(json.dumps(ORDER)).read('{"fraud": true, "lines": [{"price": 1.5}], "kind": "b", "more": "x"}')
    assert found == {"fraud": True, "why": None, "lines": [{"price": 1.5}], "kind": "b", "tags": None}


def test_the_fields_as_outputs() -> None:
    fields = AnswerSchema(json.dumps(ORDER)).fields
    assert {name: str(spec) for name, spec in fields.items()} == {
        "fraud": "bool[?]",
        "why": "string[?]",
        "lines": "json[?]",
        "kind": "json[?]",
        "tags": "string[?,?]",
    }


def test_defaults_are_no_answers() -> None:
    assert schema(n={"type": "integer", "default": 3}).read("{}") == {"n": None}


def test_the_schema_is_sent_as_it_was_written() -> None:
    """The compiler writes into what it compiles."""
    assert AnswerSchema(json.dumps(ORDER)).document == ORDER


def test_the_form_for_which_fitting_answers_are_promised() -> None:
    inner = {"type": "object", "properties": {"p": {"type": "number"}}, "required": ["p"], "additionalProperties": False}
    closed = {**inner, "properties": {"p": inner}}
    assert AnswerSchema(json.dumps(closed)).strict
    assert not AnswerSchema(json.dumps(ORDER)).strict
    assert not AnswerSchema(json.dumps({**closed, "properties": {"p": {**inner, "required": []}}})).strict


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        ("Sure! Here it is", "the answer is no JSON", "no JSON"),
        ("```json\n{}\n```", "the answer is no JSON", "no JSON"),
        ("[]", '$ breaks type: "object"', "must be object"),
        ("{}", '$ breaks required: ["fraud"]', "must contain ['fraud']"),
        ('{"fraud": 1}', '$.fraud breaks type: "boolean"', "data.fraud must be boolean"),
        ('{"fraud": true, "lines": [{}, {"price": -1}]}', "$.lines[1].price breaks minimum: 0", "bigger than or equal to 0"),
        ('{"fraud": true, "lines": [{"secret": 1}]}', "$.lines[0] breaks additionalProperties: false", "secret"),
        ('{"fraud": true, "secret": 1}', '$.* breaks type: "string"', "data.secret must be string"),
        ('{"fraud": true, "a.secret[0]": 1}', '$.*.*[0] breaks type: "string"', "secret"),
        ('{"fraud": true, "kind": "secret"}', '$.kind breaks enum: ["a","b"]', "one of ['a', 'b']"),
    ],
)
def test_an_answer_that_does_not_fit(answer: str, reason: str, said: str) -> None:
    """People are told the place in the schema; what the model made up may stand in what it is told itself only."""
    with pytest.raises(OffSchemaError) as caught:
        AnswerSchema(json.dumps(ORDER)).read(answer)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)
    assert said in caught.value.said


HOSTILE = "a" * 60 + "!"


@pytest.mark.parametrize(
    "field",
    [
        {"x": {"type": "string", "pattern": "^(a|aa)+$"}},
        {"x": {"type": "array", "items": {"pattern": "^(a|aa)+$"}}},
        {"x": {"type": "object", "patternProperties": {"^(a|aa)+$": {}}}},
        {"x": {"type": "object", "propertyNames": {"pattern": "^(a|aa)+$"}}},
    ],
)
def test_a_pattern_that_an_answer_could_make_last_for_ever(field: dict[str, Any]) -> None:
    """It stood there for longer than the universe; now it is an answer that does not fit, and the cure is named."""
    found = schema(**field)
    kind = field["x"]["type"]
    value: Any = HOSTILE if kind == "string" else [HOSTILE] * 3 if kind == "array" else {HOSTILE: 1}
    for _ in range(2):  # an answer is looked at again when it is asked for once more
        with pytest.raises(OffSchemaError, match=r"--answer_schema: to match its patterns .*such as \(a\|aa\)\+") as caught:
            found.read(json.dumps({"x": value}))
        assert "aaaa" not in str(caught.value) + caught.value.said
    good: Any = "aaa" if kind == "string" else ["aaa"] if kind == "array" else {"aaa": 1}
    assert found.read(json.dumps({"x": good})) == {"x": good}, "the next answer has its own time"


def test_many_texts_have_the_time_of_one() -> None:
    ticks = itertools.count()
    patterns = BoundedPatterns(lambda: next(ticks) / 10)  # each takes 0.1 s
    one = patterns.of(re.compile("a"))
    patterns.begin()
    assert all(one.search("a") for _ in range(3))
    with pytest.raises(PatternTimeoutError):
        one.search("a")


@pytest.mark.parametrize(
    ("pattern", "fits", "misfits"),
    [
        ("^{e}$", "{e}", ""),  # literal for Python; for the package "with errors", so that all would fit
        (r"^\{i\}[{]a{2}b{,2}$", "{i}{aab", "{i}{ab"),
        ("^[0-9]{4}-[0-9]{2}$", "2026-11", "2026-1"),
        ("(?i)^total$", "TOTAL", "totals"),
        ("^a$", "a", "a\n"),
        (r"^\N{DIGIT ONE}{2}$", "11", "1"),
    ],
)
def test_patterns_mean_what_they_mean_in_python(pattern: str, fits: str, misfits: str) -> None:
    found = schema(x={"pattern": pattern})
    assert found.read(json.dumps({"x": fits})) == {"x": fits}
    with pytest.raises(OffSchemaError, match="breaks pattern"):
        found.read(json.dumps({"x": misfits}))


def test_an_answer_that_is_nested_as_deeply_as_json_goes() -> None:
    nested = schema(x={"$ref": "#"})
    with pytest.raises(OffSchemaError):
        nested.read('{"x":' * 1000 + "{}" + "}" * 1000)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "is no JSON: "),
        ("[]", 'give {"type": "object", "properties": {"NAME": …}}'),
        ({"type": "object"}, "is no schema of an object with fields"),
        ({"properties": {"x": {}}}, "is no schema of an object with fields"),
        ({"x": 3}, "$.properties.x: is no schema; give an object"),
        ({"x": {"type": "strin"}}, "is no JSON Schema: Unknown type"),
        ({"x": {"type": {"a": 1}}}, "is no JSON Schema: "),
        ({"x": {"pattern": "("}}, "is no JSON Schema: missing )"),
        ({"x": {"minimum": "a"}}, "is no JSON Schema: minimum must be a number"),
        ({"x": {"$ref": "#/$defs/N"}}, "is no JSON Schema: Unresolvable ref"),
        ({"x": {"$ref": "https://h/s.json"}}, "$.properties.x: $ref leads out of the file; put the schema under $defs"),
        ({"x": {"$ref": "#", "minLength": 1}}, "$.properties.x: minLength beside $ref is passed over"),
        ({"x": {"multipleOf": 0}}, "$.properties.x: multipleOf must be more than 0"),
        ({"x": {"examples": [{"$ref": "http://127.0.0.1:1/s.json"}]}}, "nothing outside the file is read"),
        ({"x": {"const": {"$ref": "file:///etc/hostname"}}}, "nothing outside the file is read"),
        ({"x": {"anyOf": [{}, {"prefixItems": []}]}}, "$.properties.x.anyOf[1]: prefixItems is none of draft 7"),
    ],
)
def test_a_schema_that_is_refused(document: Any, says: str) -> None:
    if isinstance(document, dict) and "x" in document:
        document = {"type": "object", "properties": document}
    with pytest.raises(AnswerSchemaError) as caught:
        AnswerSchema(document if isinstance(document, str) else json.dumps(document))
    assert says in str(caught.value)


def test_the_missing_package_is_named_with_what_to_install() -> None:
    made = """AnswerSchema('{"type": "object", "properties": {"x": {}}}')"""
    said = said_without("fastjsonschema", "transforms.formats.answer_schema", made)
    needs = "--answer_schema: needs a package that is not here (fastjsonschema)"
    assert said == f"{needs}: pip install 'kafka-model-scoring[json-schema]'\n"
