"""Avro schemas: parses them, removes logical types, and refuses schemas whose values can't be read safely.

Logical types are read as Avro stores them: dates, times and timestamps as numbers (days, milli- or microseconds since the
epoch, as the type's name says), UUIDs as their text. Only decimals are converted: see ``avro.py``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.codecs import FormatError

_DECIMAL = "decimal"


class SchemaError(FormatError):
    """A schema can't be used to read values. The message says why."""

    dead_letter_class = DeadLetterClass.SCHEMA_ERROR


@dataclasses.dataclass(frozen=True, slots=True)
class ParsedSchema:
    """A schema in the form that fastavro takes.

    Attributes:
        schema: For ``fastavro.schemaless_reader``.
        recursive: Whether a type contains itself, so that the nesting of a value has no limit.
        has_decimals: Whether values may hold ``decimal.Decimal``.
    """

    schema: Any
    recursive: bool
    has_decimals: bool


def parse_avro_schema(text: str, references: Sequence[str] = ()) -> ParsedSchema:
    """Parses a schema.

    Args:
        text: The schema's JSON text.
        references: JSON texts of the schemas that it refers to; each comes after those that it refers to itself.

    Raises:
        SchemaError: The text is no Avro schema, or its values can't be read safely.
    """
    named: dict[str, Any] = {}
    try:
        for reference in references:
            fastavro.parse_schema(_without_logical_types(json.loads(reference)), named)
        schema = fastavro.parse_schema(_without_logical_types(json.loads(text)), named)
    except Exception as error:  # fastavro raises many types: KeyError, TypeError, errors of its own
        what = str(error).partition("\n")[0][:200]
        raise SchemaError(f"the schema is not an Avro schema: {type(error).__name__}: {what}") from error
    survey = _Survey(named)
    survey.takes_bytes(schema)
    return ParsedSchema(schema, survey.recursive, survey.has_decimals)


def _without_logical_types(node: Any) -> Any:
    """Removes all logical types except decimals: fastavro would convert them to objects, which tensors can't hold."""
    if isinstance(node, list):
        return [_without_logical_types(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "logicalType" or value == _DECIMAL}
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = _without_logical_types(kept[key])
    if isinstance(kept.get("fields"), list):
        kept["fields"] = [_without_logical_types(field) for field in kept["fields"]]
    return kept


class _Survey:
    """Walks over a parsed schema, each named type once."""

    def __init__(self, named: Mapping[str, Any]):
        self.recursive = self.has_decimals = False
        self._named = named
        self._known: dict[str, bool] = {}
        self._above: set[str] = set()

    def takes_bytes(self, node: Any) -> bool:
        """Whether every value takes at least one byte. Raises ``SchemaError`` for an array of items that take none."""
        if isinstance(node, list):
            for part in node:
                self.takes_bytes(part)
            return True
        if isinstance(node, str):
            return self._named_takes_bytes(node, self._named[node]) if node in self._named else node != "null"
        kind = node["type"]
        if node.get("logicalType") == _DECIMAL:
            self.has_decimals = True
        if kind in ("record", "error"):
            return self._named_takes_bytes(node["name"], node)
        if kind == "fixed":
            return bool(node["size"] > 0)
        if kind == "array" and not self.takes_bytes(node["items"]):
            # A few bytes can announce 2**62 items of no bytes each; reading them would never end.
            raise SchemaError("the schema has arrays of items that take no bytes, so their length has no limit")
        if kind == "map":
            self.takes_bytes(node["values"])
        return self.takes_bytes(kind) if isinstance(kind, (dict, list)) else kind != "null"

    def _named_takes_bytes(self, name: str, node: Any) -> bool:
        if name in self._above:
            self.recursive = True
            return True
        if node["type"] not in ("record", "error"):
            self._known[name] = node["type"] != "fixed" or node["size"] > 0
            self.has_decimals = self.has_decimals or node.get("logicalType") == _DECIMAL
        if name not in self._known:
            self._above.add(name)
            fields = [self.takes_bytes(field["type"]) for field in node["fields"]]  # a list, so that every field is checked
            self._known[name] = any(fields)
            self._above.discard(name)
        return self._known[name]
