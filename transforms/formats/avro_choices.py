"""Avro's unions and enums for fastavro, in a form in which the index of a branch or symbol can't be below 0.

A union's value begins with the index of its branch; an enum's value is the index of its symbol. fastavro (1.13) looks the
indexes up in Python lists, in which -1 is the last item: a value that no writer makes would be read as some branch. Here the
lists are dicts by index, in which -1 is missing. fastavro accepts a dict too, but does not promise it. This is tested once;
if it fails, a walk over each value finds such an index (``avro_cost.py``).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import fastavro

_PARSED, _NAMED = "__fastavro_parsed", "__named_schemas"  # how fastavro knows a schema that it has parsed


def with_checked_choices(
    schema: Any, named: Mapping[str, Any], read: Callable[..., Any] = fastavro.schemaless_reader
) -> Any | None:
    """Returns a parsed schema in which no index below 0 is a branch or a symbol.

    Args:
        schema: The schema, as ``fastavro.parse_schema`` returns it.
        named: Its named types, from the same call.
        read: fastavro's function that reads a value.

    Returns:
        The schema, for ``read`` without a reader's schema; ``None`` if this fastavro can't read it.
    """
    return _checked(schema, named) if _looks_up_in_dicts(read) else None


def _checked(schema: Any, named: Mapping[str, Any]) -> Any:
    if isinstance(schema, str) and schema not in named:
        return schema
    root = _type(schema, named)
    if not isinstance(root, dict):
        root = _named(named[root], named)
    return {**root, _PARSED: True, _NAMED: {name: _named(node, named) for name, node in named.items()}}


def _type(node: Any, named: Mapping[str, Any]) -> Any:
    """A type's new form; named types by their names, so that one that is nested in many others is not copied for each."""
    if isinstance(node, list):
        return {"type": "union", **dict(enumerate([_type(part, named) for part in node]))}
    if not isinstance(node, dict):
        return node
    if node.get("name") in named:
        return node["name"]
    changed = dict(node)
    for key in ("type", "items", "values"):
        if key in node:
            changed[key] = _type(node[key], named)
    return changed


def _named(node: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    changed = {key: part for key, part in node.items() if key not in (_PARSED, _NAMED)}
    if "fields" in node:
        changed["fields"] = [{**field, "type": _type(field["type"], named)} for field in node["fields"]]
    if "symbols" in node:
        changed["symbols"] = dict(enumerate(node["symbols"]))
    return changed


@functools.cache
def _looks_up_in_dicts(schemaless_reader: Callable[..., Any]) -> bool:
    named: dict[str, Any] = {}
    union = ["null", {"type": "enum", "name": "e", "symbols": ["a", "b"]}]
    schema = _checked(fastavro.parse_schema({"type": "array", "items": union}, named), named)

    def read(value: bytes) -> Any:
        try:
            return schemaless_reader(io.BytesIO(value), schema, None)
        except Exception:  # noqa: BLE001  # whatever a fastavro raises that can't read it
            return None

    right, below_union, below_enum = b"\x06\x00\x02\x00\x02\x02\x00", b"\x02\x01\x00\x00", b"\x02\x02\x01\x00"
    return read(right) == [None, "a", "b"] and read(below_union) is None and read(below_enum) is None
