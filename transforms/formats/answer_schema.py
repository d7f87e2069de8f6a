"""``--answer_schema``: the JSON Schema of a model's answers, which are read as JSON and checked by it.

The schema is an object, whose properties are the fields of a prediction. It is sent with each request, and the answer is
checked all the same: not every server makes its model obey. ``fastjsonschema`` checks, by the rules of draft 7 (or of draft
4 or 6, if ``$schema`` says so); patterns in bounded time (``bounded_patterns.py``). Keywords of later drafts, which it would
pass over, are refused.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from transforms.exact_json import loads_exactly
from transforms.formats.bounded_patterns import MATCH_S, BoundedPatterns, PatternTimeoutError
from transforms.formats.extras import missing
from transforms.printable import shortened
from transforms.types import TensorSpec

FORM = '{"type": "object", "properties": {"NAME": …}}'

_LATER = (
    "prefixItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependentRequired",
    "dependentSchemas",
    "minContains",
    "maxContains",
    "$dynamicRef",
    "$recursiveRef",
)
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependencies")
"""Keywords with an object of schemas."""

_LISTED = ("items", "allOf", "anyOf", "oneOf")
"""Keywords with a list of schemas."""

_SINGLE = ("items", "additionalItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
"""Keywords with a schema."""

_NOTES = {"$ref", "title", "description", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"}
"""The keywords allowed next to ``$ref``: drafts up to 7 ignore all others there."""

_DTYPES = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_MOST_CHARACTERS = 500
_REMOTE = ("http", "https", "ftp", "file", "data")


class AnswerSchemaError(ValueError):
    """A schema can't be used. The message says where it is wrong, and the cure."""


class OffSchemaError(ValueError):
    """An answer does not fit the schema. The text is for people: it names places of the schema, and nothing of the answer.

    Args:
        reason: Why, for people.
        said: Why, for the model that gave the answer. It may have names of fields that the model made up.
    """

    def __init__(self, reason: str, said: str):
        super().__init__(reason)
        self.said = said


class AnswerSchema:
    """A schema, compiled.

    Attributes:
        document: The schema, to be sent with requests.
        fields: The fields of a prediction, and their specs as outputs: one value a row. What is neither a text, a number nor
            a truth value, nor a list of such, has the dtype ``json``.
        strict: Whether it has the form for which OpenAI promises that answers fit: no object may have other properties than
            those that it lists, and all are required.

    Args:
        text: The schema.

    Raises:
        AnswerSchemaError: It can't be used.
        ConfigError: fastjsonschema is not installed.
    """

    def __init__(self, text: str):
        try:
            self.document: dict[str, Any] = orjson.loads(text)
        except ValueError as error:
            raise AnswerSchemaError(f"is no JSON: {error}") from error
        properties = self.document.get("properties") if isinstance(self.document, dict) else None
        if not isinstance(properties, dict) or not properties or self.document.get("type") != "object":
            raise AnswerSchemaError(f"is no schema of an object with fields; give {FORM}: each is a field of the prediction")
        nodes = list(_nodes(self.document, "$"))
        for path, node in nodes:
            _check(path, node)
        objects = [
            node for _, node in nodes if isinstance(node, dict) and ("properties" in node or node.get("type") == "object")
        ]
        self.strict = all(map(_is_closed, objects))
        self.fields = {name: _spec(schema) for name, schema in properties.items()}
        self._names = {name for node in objects for name in node.get("properties", ())}
        self._patterns, self._took_too_long = BoundedPatterns(), ""
        self._validate = _compiled(self.document, self._patterns)

    def read(self, text: str) -> dict[str, Any]:
        """Returns the fields of an answer; ``None`` for those that it leaves out. Others than those listed are left out.

        Raises:
            OffSchemaError: It is no JSON, or does not fit.
        """
        from fastjsonschema import JsonSchemaValueException

        if text and text == self._took_too_long:  # an answer is looked at more than once
            raise self._too_long()
        self._patterns.begin()
        try:
            found = loads_exactly(text.encode())
        except (ValueError, RecursionError):  # its text may quote the answer
            raise OffSchemaError("the answer is no JSON", "it is no JSON") from None
        try:
            self._validate(found)
        except JsonSchemaValueException as error:
            rule = shortened(f"{error.rule}: {_json(error.rule_definition)}", 100)
            place = self._place(error.name or "data")
            reason = f"the answer does not fit --answer_schema: {place} breaks {rule}"
            raise OffSchemaError(reason, shortened(error.message, _MOST_CHARACTERS)) from None
        except PatternTimeoutError:
            self._took_too_long = text
            raise self._too_long() from None
        except ArithmeticError:
            raise OffSchemaError("a number of the answer is out of range", "a number is out of range") from None
        except RecursionError:
            raise OffSchemaError("the answer is nested too deeply", "it is nested too deeply") from None
        return {name: found.get(name) for name in self.fields}

    def _too_long(self) -> OffSchemaError:
        cure = "write its patterns so that a text fits in one way only, without repeated choices such as (a|aa)+ and (a+)+"
        reason = f"--answer_schema: to match its patterns with the answer takes more than {MATCH_S:g} s; {cure}"
        return OffSchemaError(reason, "a text of it can't be matched with its pattern in time; make it shorter")

    def _place(self, name: str) -> str:
        """The place of ``data.lines[3].price``, with ``*`` for names that the answer may have made up."""
        place = "$"
        for step in re.findall(r"[^.\[\]]+", name)[1:]:
            place += f"[{step}]" if step.isdecimal() else f".{step}" if step in self._names else ".*"
        return place


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every schema in a schema, and where it stands."""
    yield path, node
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _NAMED and isinstance(value, dict):
            for name, schema in value.items():
                if not isinstance(schema, list):  # ``dependencies`` may have names
                    yield from _nodes(schema, f"{path}.{key}.{name}")
        elif key in _LISTED and isinstance(value, list):
            for number, schema in enumerate(value):
                yield from _nodes(schema, f"{path}.{key}[{number}]")
        elif key in _SINGLE:
            yield from _nodes(value, f"{path}.{key}")


def _check(path: str, node: Any) -> None:
    if not isinstance(node, dict):
        if not isinstance(node, bool):
            raise AnswerSchemaError(f"{path}: is no schema; give an object")
        return
    for keyword in _LATER:
        if keyword in node:
            raise AnswerSchemaError(f"{path}: {keyword} is none of draft 7, by which answers are checked; say it without")
    if node.get("multipleOf") == 0:
        raise AnswerSchemaError(f"{path}: multipleOf must be more than 0")
    if (ref := node.get("$ref")) is None:
        return
    if not isinstance(ref, str) or not ref.startswith("#"):
        raise AnswerSchemaError(f"{path}: $ref leads out of the file; put the schema under $defs, and refer to #/$defs/NAME")
    if beside := set(node) - _NOTES - {"$defs", "definitions"}:
        raise AnswerSchemaError(f'{path}: {min(beside)} beside $ref is passed over; write "allOf": [{{"$ref": …}}, …]')


def _is_closed(node: Mapping[str, Any]) -> bool:
    return node.get("additionalProperties") is False and set(node.get("properties", ())) == set(node.get("required", ()))


def _spec(schema: Any) -> TensorSpec:
    kind = _kind(schema)
    if kind == "array" and (item := _DTYPES.get(_kind(schema.get("items")))) is not None:
        return TensorSpec(item, (-1, -1))
    return TensorSpec(_DTYPES.get(kind, "json"), (-1,))


def _kind(schema: Any) -> str:
    """The type of a value that is not null; empty if there are several."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    kinds = [kind] if isinstance(kind, str) else [it for it in kind or () if it != "null"]
    return kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) else ""


def _refuse(uri: str) -> Any:
    raise AnswerSchemaError(f"$ref leads to {uri}, and nothing outside the file is read; put the schema under $defs")


def _compiled(document: Mapping[str, Any], bounded: BoundedPatterns) -> Callable[[Any], Any]:
    try:
        import fastjsonschema
        import regex  # noqa: F401  # for the patterns
    except ImportError as error:
        raise missing("answer_schema", str(error.name), "json-schema") from error
    try:
        # A copy, because the compiler writes into it. Without defaults, which would be written into answers.
        validate: Callable[[Any], Any] = fastjsonschema.compile(
            copy.deepcopy(dict(document)), dict.fromkeys(_REMOTE, _refuse), use_default=False
        )
        # In the module that it has made of the schema. Without a pattern the dictionary is there, and empty.
        patterns = validate.__globals__["REGEX_PATTERNS"]
        patterns.update({name: bounded.of(pattern) for name, pattern in patterns.items()})
        return validate
    except AnswerSchemaError:
        raise
    except (fastjsonschema.JsonSchemaDefinitionException, re.error) as error:
        raise AnswerSchemaError(f"is no JSON Schema: {error}") from error
    except RecursionError as error:
        raise AnswerSchemaError("is nested too deeply") from error
    except Exception as error:  # the compiler does not look at all that it reads: a list for a number, say
        raise AnswerSchemaError(f"is no JSON Schema: {type(error).__name__}: {error}") from error


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return "…"
