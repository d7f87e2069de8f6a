"""Avro schemas, data of them, and container files, valid and nearly so."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz.source import Source

_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_WIDTHS = {"boolean": 1, "float": 4, "double": 8}


def schema_of(source: Source, depth: int = 4, names: list[str] | None = None) -> Any:
    """A schema, as its JSON holds it."""
    names = [] if names is None else names
    kind = source.below(9) if depth else source.below(2)
    if kind < 2:
        return source.pick((*_PRIMITIVES, *names)) if kind else source.pick(_PRIMITIVES)
    if kind == 2:
        return {"type": "array", "items": schema_of(source, depth - 1, names)}
    if kind == 3:
        return {"type": "map", "values": schema_of(source, depth - 1, names)}
    if kind == 4:
        return [schema_of(source, depth - 1, names) for _ in range(source.below(4))]
    if kind == 5:
        decimal = {"logicalType": "decimal", "precision": source.edge(), "scale": source.small()}
        return {"type": source.pick(("bytes", "int", "fixed")), **(decimal if source.chance(2) else {"logicalType": "date"})}
    name = source.pick(("R", "S", "n.T", "int", "")) if source.chance(4) else f"N{len(names)}"
    names.append(name)
    if kind == 6:
        return {"type": "enum", "name": name, "symbols": ["A", "B", "C"][: source.below(4)]}
    if kind == 7:
        return {"type": "fixed", "name": name, "size": source.edge() if source.chance(4) else source.small()}
    fields = [{"name": f"f{i}", "type": schema_of(source, depth - 1, names)} for i in range(source.below(5))]
    return {"type": source.pick(("record", "error", "record")), "name": name, "fields": fields}


def zigzag(number: int) -> bytes:
    """A number as Avro writes it; beyond 64 bits, too."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def datum_of(schema: Any, source: Source, named: dict[str, Any], depth: int = 8) -> bytes:
    """A datum of a schema; now and then a count, an index or a length is another."""
    if isinstance(schema, list):
        index = source.edge() if source.chance(8) else source.below(max(len(schema), 1))
        return zigzag(index) + (datum_of(schema[index], source, named, depth - 1) if 0 <= index < len(schema) else b"")
    if isinstance(schema, str) and schema not in named:
        return _primitive(schema, source)
    node = named[schema] if isinstance(schema, str) else schema
    kind = node["type"]
    if "name" in node:
        named[node["name"]] = node
    if depth <= 0:
        return source.take(2)
    if kind in ("array", "map"):
        count = source.small()
        item = node["items" if kind == "array" else "values"]
        items = [(b"\x02k" if kind == "map" else b"") + datum_of(item, source, named, depth - 1) for _ in range(count)]
        count = source.edge() if source.chance(8) else count
        ends = zigzag(0) if count else b""
        return zigzag(count) + (zigzag(source.edge()) if count < 0 else b"") + b"".join(items) + ends
    if kind == "enum":
        return zigzag(source.edge() if source.chance(4) else source.below(3))
    if kind == "fixed" and "size" in node:
        return source.take(min(max(node["size"], 0), 64))
    if kind in ("record", "error"):
        return b"".join([datum_of(field["type"], source, named, depth - 1) for field in node["fields"]])
    return datum_of(kind, source, named, depth - 1) if isinstance(kind, list | dict) else _primitive(kind, source)


def _primitive(kind: str, source: Source) -> bytes:
    if kind in ("int", "long"):
        return zigzag(source.edge())
    if kind in ("bytes", "string"):
        content = source.take(source.small())
        return zigzag(source.edge() if source.chance(8) else len(content)) + content
    width = _WIDTHS.get(kind, 0)
    return source.take(width).ljust(width, b"\0")


def container_of(source: Source) -> bytes:
    """A container file of one record; now and then of another number, codec or size."""
    schema = schema_of(source)
    codec, compress = source.pick(_CODECS)
    datum = datum_of(schema, source, {})
    if source.chance(8):
        datum = datum * 1000
    text = source.mutated(json.dumps(schema).encode())
    pairs = [(b"avro.schema", text), (b"avro.codec", codec)][: 3 - source.below(2)]
    header = b"".join([zigzag(len(key)) + key + zigzag(len(part)) + part for key, part in pairs])
    block = source.mutated(compress(datum))
    counts = [1] if not source.chance(6) else [source.edge() for _ in range(source.below(3))]
    blocks = b"".join([zigzag(count) + zigzag(len(block)) + block + b"s" * 16 for count in counts])
    return source.mutated(b"Obj\x01" + zigzag(len(pairs)) + header + b"\0" + b"s" * 16 + blocks)


def _deflated(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


_CODECS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"null", bytes),
    (b"deflate", _deflated),
    (b"bzip2", bz2.compress),
    (b"xz", lzma.compress),
    (b"snappy", bytes),
    (b"zstandard", bytes),
    (b"none", bytes),
)
