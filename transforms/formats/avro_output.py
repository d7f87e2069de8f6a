"""Predictions as Avro: the schema that is made of their fields, and the writer of any schema of a record."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import fastavro

from transforms.errors import is_sick
from transforms.formats.avro_schema import SchemaError
from transforms.formats.output_fields import RECORD, Field, identifier
from transforms.formats.output_values import (
    FLOAT32_MAX,
    OutputMismatchError,
    SymbolMismatchError,
    as_bool,
    as_bytes,
    as_decimal,
    as_float,
    as_list,
    as_object,
    as_text,
    as_whole,
)

_Take = Callable[[Any], Any]

_PRIMITIVES: dict[str, _Take] = {
    "boolean": as_bool,
    "int": functools.partial(as_whole, least=-(1 << 31), most=(1 << 31) - 1),
    "long": functools.partial(as_whole, least=-(1 << 63), most=(1 << 63) - 1),
    "float": functools.partial(as_float, most=FLOAT32_MAX),
    "double": as_float,
    "bytes": as_bytes,
    "string": as_text,
}
_ULONG = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}


def make_avro_schema(fields: Sequence[Field], record_name: str) -> str:
    """Returns the schema of predictions. All fields may be null and are null by default: so they may come and go later.

    Args:
        fields: The fields.
        record_name: The record's name, with its namespace.
    """
    namespace, _, name = record_name.rpartition(".")
    schema = {"type": "record", "name": name, **({"namespace": namespace} if namespace else {})}
    return json.dumps({**schema, "fields": [_field(field) for field in fields]}, separators=(",", ":"))


def _field(field: Field) -> dict[str, Any]:
    doc = {} if field.identifier == field.name else {"doc": f"{field.name} of the prediction"}
    return {"name": field.identifier, "type": ["null", _type(field)], "default": None, **doc}


def _type(field: Field) -> Any:
    kind: Any = _ULONG if field.type == "ulong" else field.type
    if field.type == RECORD:
        members = [{"name": member.identifier, "type": _type(member)} for member in field.fields]
        kind = {"type": "record", "name": f"{field.identifier}_entry", "fields": members}
    for _ in range(field.lists):
        kind = {"type": "array", "items": kind}
    return kind


class AvroWriter:
    """Writes predictions by a schema.

    Args:
        text: The schema, of a record.
        references: The schemas that it refers to; each comes after those that it refers to itself.

    Attributes:
        needed: The names of the fields that a prediction has to have, as they have no default.

    Raises:
        SchemaError: It is no Avro schema, or not of a record.
    """

    def __init__(self, text: str, references: Sequence[str] = ()):
        self._defined: dict[str, Any] = {}
        self._takes: dict[str, _Take] = {}
        try:
            for reference in references:
                fastavro.parse_schema(json.loads(reference), self._defined)
            self._schema: Any = fastavro.parse_schema(json.loads(text), self._defined)
        except Exception as error:
            if is_sick(error):
                raise
            raise SchemaError(f"is not an Avro schema: {type(error).__name__}") from error
        if not isinstance(self._schema, dict) or self._schema["type"] != "record":
            raise SchemaError("is not the Avro schema of a record")
        self._takes_of_fields = self._members(self._schema)
        self.needed = frozenset(field["name"] for field in self._schema["fields"] if "default" not in field)

    @property
    def names(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(self._takes_of_fields)

    def check(self, name: str, value: Any) -> None:
        """Checks a value of the field ``name``; raises ``OutputMismatchError``."""
        _taken({name: value}, self._takes_of_fields)

    def write(self, prediction: dict[str, Any]) -> bytes:
        """Returns the datum of a prediction. What the schema has no field for is left out.

        Raises:
            OutputMismatchError: A value does not fit its field, or a field without a default has none.
        """
        datum = _taken(prediction, self._takes_of_fields)
        if missing := self.needed.difference(datum):
            raise OutputMismatchError(f"field {min(missing)} has no default, and the prediction has no such field")
        out = io.BytesIO()
        try:
            fastavro.schemaless_writer(out, self._schema, datum)
        except Exception as error:  # fastavro raises many types; its messages may hold values
            if is_sick(error):
                raise
            raise OutputMismatchError(f"a value does not fit the schema ({type(error).__name__})") from error
        return out.getvalue()

    def _members(self, record: dict[str, Any]) -> dict[str, _Take]:
        return {field["name"]: self._take(field["type"]) for field in record["fields"]}

    def _take(self, schema: Any) -> _Take:
        """Returns what turns a value of JSON's types into one of this type."""
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return _PRIMITIVES.get(schema) or (_null if schema == "null" else self._named(schema))
        kind = schema["type"]
        if schema.get("logicalType") == "decimal":
            return as_decimal
        if kind == "array":
            take_item = self._take(schema["items"])
            return lambda value: [take_item(item) for item in as_list(value)]
        if kind == "map":
            take_value = self._take(schema["values"])
            return lambda value: {as_text(name): take_value(part) for name, part in as_object(value).items()}
        if kind in ("record", "enum", "fixed", "error"):
            self._defined.setdefault(schema["name"], schema)
            return self._named(schema["name"])
        return self._take(kind)

    def _named(self, name: str) -> _Take:
        if name not in self._takes:
            self._takes[name] = lambda value: self._takes[name](value)  # for a type that has itself inside
            schema = self._defined[name]
            if schema["type"] == "enum":
                self._takes[name] = functools.partial(_symbol, symbols=frozenset(schema["symbols"]))
            elif schema["type"] == "fixed":
                self._takes[name] = functools.partial(_fixed, size=schema["size"])
            else:
                members = self._members(schema)
                self._takes[name] = lambda value: _taken(as_object(value), members)
        return self._takes[name]

    def _union(self, branches: list[Any]) -> _Take:
        with_null = "null" in branches
        # A string takes any value, so it is tried last.
        takes = [self._take(branch) for branch in sorted(branches, key=lambda one: one == "string") if branch != "null"]

        def take(value: Any) -> Any:
            if value is None and with_null:
                return None
            problem = OutputMismatchError("is of none of the union's types")
            for one in takes:
                try:
                    return one(value)
                except OutputMismatchError as error:
                    problem = error if len(takes) == 1 else problem
            raise problem

        return take


def _taken(prediction: dict[str, Any], takes: dict[str, _Take]) -> dict[str, Any]:
    found = {}
    for name, value in prediction.items():
        if take := takes.get(identifier(name)):
            try:
                found[identifier(name)] = take(value)
            except OutputMismatchError as error:
                raise OutputMismatchError(f"field {identifier(name)}: {error}") from error
    return found


def _null(value: Any) -> None:
    if value is not None:
        raise OutputMismatchError("not null")


def _symbol(value: Any, symbols: frozenset[str]) -> str:
    if type(value) is not str or value not in symbols:
        raise SymbolMismatchError("not one of the enum's symbols")
    return value


def _fixed(value: Any, size: int) -> bytes:
    found = as_bytes(value)
    if len(found) != size:
        raise OutputMismatchError(f"{len(found)} bytes, not {size}")
    return found
