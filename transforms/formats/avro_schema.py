"""Avro schemas: parses them, removes logical types, and refuses schemas whose values can't be read safely.

Logical types are read as Avro stores them: dates, times and timestamps as numbers (days, milli- or microseconds since the
epoch, as the type's name says), UUIDs as their text. Only decimals are converted: see ``avro.py``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import fastavro

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.avro_choices import with_checked_choices
from transforms.formats.avro_cost import SchemaCost, UnboundedError
from transforms.formats.codecs import FormatError
from transforms.formats.decimals import MAX_DECIMAL_BYTES, MAX_SCALE, decimal_number
from transforms.internal_errors import NO_RECORDS_FAULT

MAX_SCHEMA_BYTES = 1 << 20
"""The most characters of a schema's text: containers bring schemas of their own, and parsing takes time."""

_DECIMAL = "decimal"
_OWN_DECIMAL = "kafka-model-scoring-decimal"  # read by a function of ours; fastavro's own takes quadratic time


class SchemaError(FormatError):
    """A schema can't be used to read values. The message says why."""

    dead_letter_class = DeadLetterClass.SCHEMA_ERROR


@dataclasses.dataclass(frozen=True, slots=True)
class ParsedSchema:
    """A schema in the form that fastavro takes.

    Attributes:
        schema: For ``fastavro.schemaless_reader`` with a reader's schema, and as one.
        checked: For it without a reader's schema: refuses indexes below 0; ``None`` if fastavro can't be made to.
        cost: What its values may cost.
    """

    schema: Any
    checked: Any | None
    cost: SchemaCost


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
            fastavro.parse_schema(_prepared(_loaded(reference)), named)
        schema = fastavro.parse_schema(_prepared(_loaded(text)), named)
        cost = SchemaCost(schema, named)  # first: it refuses schemas that are nested too deeply
        return ParsedSchema(schema, with_checked_choices(schema, named), cost)
    except (SchemaError, *NO_RECORDS_FAULT):
        raise
    except UnboundedError as error:
        raise SchemaError(str(error)) from error
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error
    except Exception as error:  # fastavro raises many types: KeyError, TypeError, errors of its own
        what = str(error).partition("\n")[0][:200]
        raise SchemaError(f"the schema is not an Avro schema: {type(error).__name__}: {what}") from error


def _loaded(text: str) -> Any:
    if len(text) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"the schema has {len(text)} characters; {MAX_SCHEMA_BYTES} are allowed")
    return json.loads(text)


def _prepared(node: Any) -> Any:
    """Removes all logical types except decimals: fastavro would convert them to objects, which tensors can't hold.

    Also the marks by which fastavro knows a schema that it has checked: a stranger's may have them, too.
    """
    if isinstance(node, list):
        return [_prepared(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "logicalType" and not key.startswith("__")}
    if node.get("logicalType") == _DECIMAL:
        _check_decimal(node)
        kept["logicalType"] = _OWN_DECIMAL
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = _prepared(kept[key])
    if isinstance(kept.get("fields"), list):
        kept["fields"] = [_prepared(field) for field in kept["fields"]]
    return kept


# ---------------------------------------------------------------------- decimals


def _check_decimal(node: dict[str, Any]) -> None:
    precision, scale, size = node.get("precision"), node.get("scale", 0), node.get("size", 0)
    if type(precision) is not int or precision < 1:
        raise SchemaError("a decimal's precision is not a whole number of 1 or more")
    if type(scale) is not int or not 0 <= scale <= min(precision, MAX_SCALE):
        raise SchemaError(f"a decimal's scale is not a whole number from 0 to its precision, at most {MAX_SCALE}")
    if type(size) is not int or size > MAX_DECIMAL_BYTES:
        raise SchemaError(f"a decimal's size is not a whole number up to {MAX_DECIMAL_BYTES}")


def _read_decimal(data: bytes, writer_schema: Any = None, reader_schema: Any = None) -> float:
    return decimal_number(data, writer_schema.get("scale", 0))


fastavro.read.LOGICAL_READERS[f"bytes-{_OWN_DECIMAL}"] = _read_decimal
fastavro.read.LOGICAL_READERS[f"fixed-{_OWN_DECIMAL}"] = _read_decimal
