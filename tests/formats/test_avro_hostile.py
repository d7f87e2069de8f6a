"""Avro records that would end the job, or the process, or take memory or time without end: each is a dead letter."""

from __future__ import annotations

import bz2
import dataclasses
import io
import json
import lzma
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.decoding import UNKNOWN, X, classes, decode, rows_of, takes
from tests.formats.test_avro import DECIMAL_2, X_SCHEMA, bare, container, schema_of
from transforms.formats.avro import AvroError, AvroReader
from transforms.formats.avro_choices import with_checked_choices
from transforms.formats.avro_cost import MAX_DEPTH
from transforms.formats.avro_schema import SchemaError, parse_avro_schema
from transforms.formats.decimals import MAX_DECIMAL_BYTES
from transforms.formats.limits import NUMBER_BYTES
from transforms.formats.varint import MalformedError
from transforms.types import TensorSpec

SYNC = bytes(16)


def zigzag(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(data: bytes) -> bytes:
    return zigzag(len(data)) + data


def file(schema: str | bytes, *blocks: tuple[int, bytes], codec: bytes = b"null") -> bytes:
    """A container made by hand: whatever schema and counts."""
    raw = schema if isinstance(schema, bytes) else schema.encode()
    head = zigzag(2) + text(b"avro.schema") + text(raw) + text(b"avro.codec") + text(codec) + b"\0"
    return b"Obj\x01" + head + SYNC + b"".join(zigzag(count) + text(data) + SYNC for count, data in blocks)


def chain(levels: int, doubled: bool = False) -> list[Any]:
    """Records that hold each other by name, the innermost first: nested deep, and the JSON is not."""
    records: list[Any] = [{"type": "record", "name": "R0", "fields": []}]
    for level in range(1, levels + 1):
        fields = [{"name": name, "type": f"R{level - 1}"} for name in ("ab" if doubled else "a")]
        records.append({"type": "record", "name": f"R{level}", "fields": fields})
    return records


LIST = '{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}'
STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": lambda data: zlib.compress(data, wbits=-15),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize(
    ("value", "error_class", "says"),
    [
        (file('{"type":"fixed","name":"F","size":"x"}', (1, b"")), "SchemaError", "size"),
        (file('{"type":"fixed","name":"F","size":-1}', (1, b"")), "SchemaError", "size"),
        (file('{"type":"fixed","size":"x"}', (1, b"")), "SchemaError", "not an Avro schema"),
        (file('"int"', (-1, b"\0"), (2, b"\0\0")), "AvroError", "a block counts -1 records"),
        (file('"int"', (2, b"\0\0")), "AvroError", "holds 2 records"),
        (file('"int"', (2**62, b"\0\0")), "AvroError", "holds 4611686018427387904 records"),
        (file('"int"', (1, b"\0"))[:-1], "AvroError", "cut short"),
        (file('"int"', (1, b"\0"))[:-1] + b"x", "AvroError", "sync marker"),
        (file('"int"', (1, b"\0"), codec=b"rar"), "AvroError", "codec is none of"),
        (file(b'"\xff"', (1, b"\0")), "AvroError", "not UTF-8"),
        (b"Obj\x01" + b"\0" + SYNC + zigzag(1) + text(b"\0") + SYNC, "AvroError", "no schema"),
        (file(json.dumps(chain(10_000)), (1, zigzag(10_000))), "SchemaError", "nested too deeply"),
        (file("[" * 900 + "]" * 900, (1, b"\0")), "SchemaError", ""),
        (file("[" * 200_000 + "]" * 200_000, (1, b"\0")), "SchemaError", "nested too deeply"),
        (file('"' + "a" * 2_000_000 + '"', (1, b"\0")), "SchemaError", "2000002 characters"),
        (file(json.dumps(chain(39, doubled=True)), (1, zigzag(39))), "AvroError", "--max_record_bytes"),
        *[(file('"int"', (1, b"not compressed"), codec=codec.encode()), "AvroError", "decompressed") for codec in STREAMS],
    ],
)  # fmt: skip
def test_containers(value: bytes, error_class: str, says: str) -> None:
    began = time.process_time()
    chunk = decode(UNKNOWN, "avro", value, container('"int"', [7]))
    assert classes(chunk) == {0: error_class}
    assert says in chunk.failures[0].message
    assert rows_of(chunk, "instances") == {1: 7}
    assert time.process_time() - began < 10


@pytest.mark.parametrize("codec", STREAMS)
def test_blocks_are_inflated_up_to_the_limit(codec: str) -> None:
    """A thousand bytes that become a hundred megabytes: refused, and never in memory."""
    value = file('"bytes"', (1, STREAMS[codec](text(bytes(100_000_000)))), codec=codec.encode())
    assert len(value) < 200_000
    tracemalloc.start()
    try:
        chunk = decode(UNKNOWN, "avro", value, max_record_bytes=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "--max_record_bytes" in chunk.failures[0].message
    assert peak < 20_000_000


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz"])
def test_codecs_are_those_of_fastavro(codec: str) -> None:
    value = container(X_SCHEMA, [{"x": [1, 2]}], codec)
    assert rows_of(decode(X, "avro", value)) == {0: [1, 2]}
    cut = file('"bytes"', (1, STREAMS[codec](text(bytes(50)))[:-4]), codec=codec.encode())
    assert classes(decode(UNKNOWN, "avro", cut)) == {0: "AvroError"}


def test_numbers_of_no_bytes_multiply_only_in_the_schema() -> None:
    """Records of records without fields cost no bytes. They are counted, not made."""
    schema = json.dumps(chain(39, doubled=True))
    framed = AvroReader(parse_avro_schema(schema))
    with pytest.raises(AvroError, match="--max_record_bytes"):
        framed.read(zigzag(39))
    assert framed.read(zigzag(2)) == {"a": {"a": {}, "b": {}}, "b": {"a": {}, "b": {}}}


def test_decimals_take_linear_time_whatever_their_schema_says() -> None:
    """0.2 MB took 21 s."""
    schema = schema_of(d={"type": "bytes", "logicalType": "decimal", "precision": 10**6, "scale": 2})
    began = time.process_time()
    with pytest.raises(AvroError, match=f"{MAX_DECIMAL_BYTES} are allowed"):
        AvroReader(parse_avro_schema(schema)).read(text(b"\x7f" * 200_000))
    many = schema_of(d={"type": "array", "items": {"type": "bytes", **DECIMAL_2}})
    found = AvroReader(parse_avro_schema(many)).read(zigzag(50_000) + text(b"\x04\xd2") * 50_000 + b"\0")
    assert found == {"d": [12.34] * 50_000}
    assert time.process_time() - began < 10
    for wrong in ({"scale": 10**9}, {"scale": -1}, {"scale": "x"}, {"precision": 0}, {"precision": None}):
        with pytest.raises(SchemaError, match="decimal"):
            parse_avro_schema(json.dumps({"type": "bytes", **DECIMAL_2, **wrong}))
    with pytest.raises(SchemaError, match="decimal's size"):
        parse_avro_schema(json.dumps({"type": "fixed", "name": "F", "size": 10**6, **DECIMAL_2}))


def test_a_recursive_value_is_read_as_deep_as_it_may_be() -> None:
    reader = AvroReader(parse_avro_schema(LIST))
    deep = b"\2\2" * (MAX_DEPTH - 1) + b"\2\0"
    assert reader.read(deep)["next"]["v"] == 1
    with pytest.raises(AvroError, match="nested too deeply"):
        reader.read(b"\2\2" + deep)


@pytest.mark.parametrize(
    ("datum", "says"),
    [
        (b"\2\1", "no branch"), (b"\2\4", "no branch"), (b"\2", "cut short"), (b"\2\2\2", "cut short"),
        (b"\xff" * 12, "more than 64 bits"),
    ],
)  # fmt: skip
def test_what_is_counted_is_checked(datum: bytes, says: str) -> None:
    with pytest.raises(AvroError, match=says):
        AvroReader(parse_avro_schema(LIST)).read(datum)


def test_the_limit_is_what_the_values_take() -> None:
    numbers = schema_of(x={"type": "array", "items": "float"})
    value = bare(numbers, {"x": [1.0] * 1000})
    for factor, failed in ((1.1, {}), (0.9, {0: "AvroError"})):
        chunk = decode(takes(x=TensorSpec("float32", (-1, -1))), "avro", value, avro_schema=numbers,
                       max_record_bytes=int(1000 * NUMBER_BYTES * factor))  # fmt: skip
        assert classes(chunk) == failed


# ---------------------------------------------------------------------- the count against fastavro

NAMES = st.integers(0, 10**9).map(lambda number: f"N{number}")
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
    | st.builds(lambda name, size: {"type": "fixed", "name": name, "size": size}, NAMES, st.integers(0, 3))
    | NAMES.map(lambda name: {"type": "enum", "name": name, "symbols": ["A", "B"]}),
    lambda inner: (
        inner.map(lambda items: {"type": "array", "items": items})
        | inner.map(lambda values: {"type": "map", "values": values})
        | inner.map(lambda part: ["null", part] if not isinstance(part, list) and part != "null" else part)
        | st.builds(
            lambda name, parts: {
                "type": "record", "name": name, "fields": [{"name": f"f{i}", "type": part} for i, part in enumerate(parts)],
            },
            NAMES, st.lists(inner, max_size=3),
        )
    ),
    max_leaves=8,
)  # fmt: skip


def size_of(value: Any) -> int:
    """The values in a value: itself, and those that it holds."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size_of, parts))


@given(SCHEMAS, st.binary(max_size=60))
def test_a_value_that_is_read_ends_where_it_was_counted_to_end(schema: Any, value: bytes) -> None:
    """And the count, and what the schema proves, are never below what it really holds."""
    try:
        parsed = parse_avro_schema(json.dumps(schema))
    except SchemaError:
        return
    cost, large = parsed.cost, 1 << 40
    assert cost.proven_bytes(large) != 0
    try:
        cost.count(value, 0, large)
    except MalformedError:
        return
    source = io.BytesIO(value)
    try:
        datum = fastavro.schemaless_reader(source, parsed.schema, None)
    except UnicodeDecodeError:
        return
    held = size_of(datum) * 8
    with pytest.raises(MalformedError, match="--max_record_bytes"):
        cost.count(value, 0, held - 1)
    limits = [2**power for power in range(3, 41)]
    least = next((limit for limit in limits if cost.proven_bytes(limit) >= len(value)), large)
    if least < large:
        cost.count(value, 0, least)  # what is proven is within the count


CHOICES = [
    ({"type": "array", "items": ["null", "float"]}, b"\x04%b\x00\x00", b"\x00", b"\x03"),
    (["null", "float"], b"%b\0\0\0\0", b"\x02", b"\x01"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"%b", b"\x02", b"\x01"),
    ({"type": "map", "values": {"type": "enum", "name": "E", "symbols": ["A", "B"]}}, b"\x02\x02k%b\x00", b"\x02", b"\x03"),
    (
        {"type": "record", "name": "R", "fields": [{"name": "next", "type": ["null", "R"]}]},
        b"\x02%b\x00",
        b"\x02",
        b"\x01",
    ),
]


@pytest.mark.parametrize(("schema", "value", "right", "below"), CHOICES)
@pytest.mark.parametrize("resolved", [False, True])
def test_a_branch_or_symbol_of_a_number_below_0(
    schema: Any, value: bytes, right: bytes, below: bytes, resolved: bool
) -> None:
    """fastavro takes -1 for the last one, of which no writer makes such a value."""
    parsed = parse_avro_schema(json.dumps(schema))
    reader = AvroReader(parsed, parsed if resolved else None)
    again = AvroReader(parse_avro_schema(json.dumps(schema)))  # a schema's second reader does as its first
    expected = fastavro.schemaless_reader(io.BytesIO(value % right), fastavro.parse_schema(schema))
    assert reader.read(value % right) == again.read(value % right) == expected
    with pytest.raises(AvroError):
        reader.read(value % below)


def reads_lists_only(value: io.BytesIO, schema: Any, reader: Any) -> Any:
    raise TypeError("list indices must be integers")


def takes_the_last_branch(value: io.BytesIO, schema: Any, reader: Any) -> Any:
    return [None, "a", "b"]


@pytest.mark.parametrize("read", [reads_lists_only, takes_the_last_branch])
def test_a_fastavro_that_does_not_look_indexes_up_in_dicts(read: Callable[..., Any]) -> None:
    """It is not promised: without it every value is walked over first."""
    parsed = parse_avro_schema(json.dumps(["null", "string"]))
    assert with_checked_choices(parsed.schema, {}, read) is None
    reader = AvroReader(dataclasses.replace(parsed, checked=None))
    assert reader.read(b"\x02\x02a") == "a"
    with pytest.raises(AvroError, match="no branch of its number"):
        reader.read(b"\x01\x02a")


def test_this_fastavro_does() -> None:
    """Else Avro with unions costs twice as much: see ``avro_choices.py``."""
    assert with_checked_choices(["null", "string"], {}) is not None


@pytest.mark.parametrize("symbols", [["A B"], [1]])
def test_a_schema_that_says_it_was_checked(symbols: Any) -> None:
    """By fastavro's own mark. It is checked, like any other."""
    checked = {"type": "enum", "name": "E", "symbols": symbols, "__fastavro_parsed": True, "__named_schemas": {}}
    with pytest.raises(SchemaError):
        parse_avro_schema(json.dumps(checked))
