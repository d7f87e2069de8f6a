"""Avro without a registry: bare data and containers, what becomes of its types, and data that would harm the reader."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.decoding import UNKNOWN, X, classes, decode, rows_of, takes
from transforms.errors import ContractError
from transforms.formats.avro import AvroError, AvroReader
from transforms.formats.avro_schema import SchemaError, parse_avro_schema
from transforms.types import TensorSpec


def schema_of(**fields: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields.items()]})


FLOATS = {"type": "array", "items": "float"}
X_SCHEMA = schema_of(x=FLOATS)


def bare(schema: str, datum: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema)), datum)
    return out.getvalue()


def container(schema: str, data: list[Any], codec: str = "null") -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(json.loads(schema)), data, codec)
    return out.getvalue()


def read(schema: str, datum: Any) -> Any:
    return AvroReader(parse_avro_schema(schema)).read(bare(schema, datum))


# ---------------------------------------------------------------------- records into tensors


def test_bare_data_and_containers() -> None:
    """Both forms in one topic; the container brings a schema of its own."""
    values = [
        bare(X_SCHEMA, {"x": [1.0, 2.0]}),
        None,
        b"",
        container(schema_of(x={"type": "array", "items": "long"}, other="string"), [{"x": [3, 4], "other": "a"}], "deflate"),
        container(X_SCHEMA, [{"x": [1, 2]}, {"x": [3, 4]}]),
        container(X_SCHEMA, []),
        container(X_SCHEMA, [{"x": [1.0, 2.0]}])[:-3],
        bare(X_SCHEMA, {"x": [1.0, 2.0]})[:-1],
        bare(X_SCHEMA, {"x": [1.0, 2.0]}) + b"\0",
        bare(X_SCHEMA, {"x": [1.0]}),
    ]
    chunk = decode(X, "avro", *values, avro_schema=X_SCHEMA)
    assert rows_of(chunk) == {0: [1, 2], 3: [3, 4]}
    assert classes(chunk) == {
        1: "Tombstone", 2: "EmptyValue", 4: "AvroError", 5: "AvroError", 6: "AvroError", 7: "AvroError", 8: "AvroError",
        9: "FieldError",
    }  # fmt: skip
    assert "cut short" in chunk.failures[7].message
    assert "1 byte follows" in chunk.failures[8].message
    assert chunk.failures[9].message == "x: expected float32[2], came a list of 1"


def test_without_a_schema_only_containers_can_be_read() -> None:
    chunk = decode(
        X, "avro", container(X_SCHEMA, [{"x": [1, 2]}]), bare(X_SCHEMA, {"x": [1, 2]}), container(X_SCHEMA, [{}] * 0)
    )
    assert classes(chunk) == {1: "AvroError", 2: "AvroError"}
    assert "--avro_schema" in chunk.failures[1].message
    assert "0 records" in chunk.failures[2].message


def test_a_datum_that_begins_like_a_container_is_still_read() -> None:
    schema = schema_of(a="long", b="long", c="long", d="long")
    datum = {"a": -40, "b": 49, "c": 53, "d": -1}
    assert bare(schema, datum).startswith(b"Obj\x01")
    names = {name: TensorSpec("int64", (-1,)) for name in datum}
    assert rows_of(decode(takes(**names), "avro", bare(schema, datum), avro_schema=schema), "c") == {0: 53}


@given(st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=20))
def test_floats_arrive_bit_by_bit(rows: list[list[float]]) -> None:
    chunk = decode(X, "avro", *[bare(X_SCHEMA, {"x": row}) for row in rows], avro_schema=X_SCHEMA)
    [segment] = chunk.segments
    assert segment.tensors["x"].tobytes() == np.array(rows, np.float32).tobytes()


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_tensor_or_a_failure(value: bytes) -> None:
    """Random bytes, by schemas of many types; nothing of them in the message."""
    schema = schema_of(
        x=["null", FLOATS], e={"type": "enum", "name": "E", "symbols": ["A"]}, m={"type": "map", "values": "string"},
        d={"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3},
    )  # fmt: skip
    classes(decode(X, "avro", value, b"Obj\x01" + value, avro_schema=schema))


def test_strings_and_bytes_need_no_base64() -> None:
    """For a model of one string input, as for any other."""
    image = b"\x89PNG\xff"
    one = TensorSpec("string", (-1,))
    assert rows_of(decode(takes(image=one), "avro", bare('"bytes"', image), avro_schema='"bytes"'), "image") == {0: image}
    schema = schema_of(
        raw="bytes",
        fixed={"type": "fixed", "name": "F", "size": 2},
        text="string",
        kind={"type": "enum", "name": "E", "symbols": ["A", "B"]},
        many={"type": "array", "items": "bytes"},
    )
    value = bare(schema, {"raw": image, "fixed": b"\xfe\xff", "text": "é", "kind": "B", "many": [b"\xff", b""]})
    inputs = dict.fromkeys(("raw", "fixed", "text", "kind"), one) | {"many": TensorSpec("string", (-1, -1))}
    [segment] = decode(takes(**inputs), "avro", value, avro_schema=schema).segments
    assert {name: array.tolist() for name, array in segment.tensors.items()} == {
        "raw": [image], "fixed": [b"\xfe\xff"], "text": ["é".encode()], "kind": [b"B"], "many": [[b"\xff", b""]],
    }  # fmt: skip


def test_bytes_are_no_numbers() -> None:
    chunk = decode(takes(x=TensorSpec("float32", (-1,))), "avro", bare('"bytes"', b"1"), avro_schema='"bytes"')
    assert chunk.failures[0].message == "x: expected float32, came bytes"


def test_unions_are_their_value_and_null_is_refused() -> None:
    schema = schema_of(x=["null", "double", "string"])
    signature = takes(x=TensorSpec("float64", (-1,)))
    values = [bare(schema, {"x": x}) for x in (1.5, None, "1.5")]
    chunk = decode(signature, "avro", *values, avro_schema=schema)
    assert rows_of(chunk) == {0: 1.5}
    assert [chunk.failures[row].message for row in (1, 2)] == [
        "x: expected float64, came null; |default(JSON) behind its path in --features takes the place of null",
        "x: expected float64, came a string that holds a number; |number behind its path in --features reads it",
    ]


def test_a_server_without_a_signature_gets_json() -> None:
    schema = schema_of(a="int", b="bytes", c={"type": "array", "items": "bytes"})
    [segment] = decode(UNKNOWN, "avro", bare(schema, {"a": 1, "b": b"\xff", "c": [b"a"]}), avro_schema=schema).segments
    assert segment.tensors["instances"].tolist() == [{"a": 1, "b": {"b64": "/w=="}, "c": [{"b64": "YQ=="}]}]


# ---------------------------------------------------------------------- logical types

EPOCH, SECOND = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(seconds=1)
UUID = "00000000-0000-0000-0000-000000000001"
DECIMAL_2 = {"logicalType": "decimal", "precision": 6, "scale": 2}


@pytest.mark.parametrize(
    ("schema", "datum", "expected"),
    [
        ({"type": "int", "logicalType": "date"}, datetime.date(1970, 1, 11), 10),
        ({"type": "int", "logicalType": "time-millis"}, datetime.time(0, 0, 1), 1000),
        ({"type": "long", "logicalType": "time-micros"}, datetime.time(0, 0, 1), 1_000_000),
        ({"type": "long", "logicalType": "timestamp-millis"}, EPOCH + SECOND, 1000),
        ({"type": "long", "logicalType": "timestamp-micros"}, EPOCH, 0),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime.datetime(1970, 1, 1, 0, 0, 2), 2000),
        ({"type": "string", "logicalType": "uuid"}, UUID, UUID),
        ({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}, decimal.Decimal(10**30), 10**30),
        ({"type": "bytes", **DECIMAL_2}, decimal.Decimal("12.34"), 12.34),
        ({"type": "fixed", "name": "D", "size": 8, **DECIMAL_2}, decimal.Decimal("-1.5"), -1.5),
    ],
)  # fmt: skip
def test_logical_types(schema: Any, datum: Any, expected: Any) -> None:
    """Dates and times are the numbers that Avro stores; decimals are computed; also inside of unions, arrays and maps."""
    wrappings: list[tuple[Any, Any, Callable[[Any], Any]]] = [
        (schema, datum, lambda found: found),
        (["null", schema], datum, lambda found: found),
        ({"type": "array", "items": schema}, [datum], lambda found: found[0]),
        ({"type": "map", "values": ["null", schema]}, {"k": datum}, lambda found: found["k"]),
    ]
    for wrapped, value, unwrap in wrappings:
        found = unwrap(read(schema_of(f=wrapped), {"f": value})["f"])
        assert (type(found), found) == (type(expected), expected)


def test_a_decimal_beyond_float64_is_refused() -> None:
    schema = schema_of(f={"type": "bytes", "logicalType": "decimal", "precision": 400, "scale": 1})
    with decimal.localcontext(prec=500), pytest.raises(AvroError, match="beyond float64"):
        read(schema, {"f": decimal.Decimal(10**350) + decimal.Decimal("0.5")})


def test_special_floats() -> None:
    found = read(schema_of(f={"type": "array", "items": "double"}), {"f": [math.nan, math.inf, -0.0]})["f"]
    assert math.isnan(found[0])
    assert (found[1], math.copysign(1, found[2])) == (math.inf, -1)


# ---------------------------------------------------------------------- schemas

LIST = '{"type":"record","name":"n.L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}'


def test_schemas_that_are_none_are_told_at_once() -> None:
    with pytest.raises(ContractError, match="--avro_schema: the schema is not an Avro schema"):
        decode(X, "avro", avro_schema='{"type": "record"}')
    with pytest.raises(ContractError, match="UnknownType"):
        decode(X, "avro", avro_schema='"strnig"')
    with pytest.raises(ContractError, match="JSONDecodeError"):
        decode(X, "avro", avro_schema="{")


def test_references_stand_for_their_types() -> None:
    inner = (
        '{"type":"record","name":"a.Inner","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}'
    )
    fields = '[{"name":"one","type":"Inner"},{"name":"two","type":["null","a.Inner"]}]'
    outer = f'{{"type":"record","name":"a.Outer","fields":{fields}}}'
    parsed = parse_avro_schema(outer, [inner])
    assert AvroReader(parsed).read(b"\x02\x02\x04") == {"one": {"t": 1}, "two": {"t": 2}}
    assert parsed.cost.proven_bytes(1_000_000) > 0
    assert parse_avro_schema('["null","n.L"]', [LIST]).cost.proven_bytes(1_000_000) == -1  # recursive


def test_the_readers_schema_fills_in_what_older_writers_lacked() -> None:
    newer = (
        '{"type":"record","name":"R","fields":[{"name":"x","type":"double"},{"name":"unit","type":"string","default":"m"}]}'
    )
    older = parse_avro_schema(schema_of(x="float", gone="int"))
    value = bare(schema_of(x="float", gone="int"), {"x": 1.5, "gone": 1})
    assert AvroReader(older, parse_avro_schema(newer)).read(value) == {"x": 1.5, "unit": "m"}
    with pytest.raises(AvroError, match="can't be resolved to that of --avro_schema"):
        AvroReader(older, parse_avro_schema(schema_of(x="string"))).read(value)


@pytest.mark.parametrize("levels", [5_000, 500_000])
def test_a_value_nested_without_end_does_not_end_the_process(levels: int) -> None:
    """fastavro's compiled reader does (SIGSEGV), which would be a record that no restart gets past."""
    code = f"""
from transforms.formats.avro import AvroReader, AvroError
from transforms.formats.avro_schema import parse_avro_schema
try:
    AvroReader(parse_avro_schema({LIST!r})).read(b"\\0\\2" * {levels} + b"\\0\\0")
except AvroError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "nested too deeply" in done.stdout) == (0, True), done


def test_a_value_of_a_recursive_schema() -> None:
    datum = {"v": 1, "next": {"v": 2, "next": None}}
    assert read(LIST, datum) == datum


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "record", "name": "E", "fields": []},
        {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]},
        {"type": "fixed", "name": "F", "size": 0},
    ],
)
def test_arrays_whose_length_nothing_limits_are_refused(items: Any) -> None:
    """Ten bytes could claim 2**62 items; reading them would never end."""
    with pytest.raises(SchemaError, match="take no bytes"):
        parse_avro_schema(schema_of(a={"type": "array", "items": items}))
    parse_avro_schema(schema_of(a={"type": "array", "items": ["null", "int"]}, n="null"))
    parse_avro_schema(schema_of(a={"type": "map", "values": "null"}))
