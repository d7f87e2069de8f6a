"""Framed records through the decoder: equal to what confluent-kafka's own serializers write, and every broken frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.decoding import X, classes, decode, records, rows_of
from tests.formats.framed import Framed
from transforms.decode.decoder import Decoder
from transforms.encode.encoder import Encoder
from transforms.formats.frame import FramedJson, FrameError, framed_value
from transforms.formats.options import FormatOptions, RegistryConfig
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.types import AnsweredSegment, PredictedChunk

pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")

X_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Row",
        "fields": [{"name": "x", "type": {"type": "array", "items": "float"}}, {"name": "note", "type": ["null", "string"]}],
    }
)


def avro(url: str, **serializer: Any) -> Framed:
    from confluent_kafka.schema_registry.avro import AvroSerializer

    return Framed(url, X, "avro", lambda client: AvroSerializer(client, X_SCHEMA, conf=serializer))


@pytest.fixture(scope="module")
def shared_registry() -> Iterator[SchemaRegistryStub]:
    with SchemaRegistryStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def framed(shared_registry: SchemaRegistryStub) -> Iterator[Framed]:
    framed = avro(shared_registry.url)
    yield framed
    framed.close()


ROWS = st.fixed_dictionaries(
    {
        "x": st.lists(st.floats(width=32), min_size=2, max_size=2),
        "note": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    }
)


@given(st.lists(ROWS, min_size=1, max_size=10))
def test_what_confluents_serializer_writes_is_read_bit_by_bit(framed: Framed, rows: list[dict[str, Any]]) -> None:
    chunk = framed.decode(records(*[framed.serialize(row) for row in rows]))
    assert chunk.failures == {}
    [segment] = chunk.segments
    assert segment.tensors["x"].tobytes() == np.array([row["x"] for row in rows], np.float32).tobytes()


def test_broken_frames_and_unknown_schemas(framed: Framed, shared_registry: SchemaRegistryStub) -> None:
    good = framed.serialize({"x": [1.0, 2.0], "note": None})
    values = [
        good,
        b"\0" + (9999).to_bytes(4, "big") + good[5:],
        b"\0\xff\xff\xff\xff" + good[5:],
        good[:3],
        good[:5],
        good[:-1],
        good + b"\0",
        b'{"x": [1.0, 2.0]}',
        b"\x01" + bytes(16) + good[5:],
        None,
        b"",
        b"\0" + shared_registry.add('{"type": "object"}', "JSON").to_bytes(4, "big") + b"{}",
        b"\0" + shared_registry.add('{"type": "nonsense"}').to_bytes(4, "big") + b"{}",
        good,
    ]
    chunk = framed.decode(records(*values))
    assert classes(chunk) == {
        1: "UnknownSchema", 2: "UnknownSchema", 3: "FrameError", 4: "AvroError", 5: "AvroError", 6: "AvroError",
        7: "FrameError", 8: "UnknownSchema", 9: "Tombstone", 10: "EmptyValue", 11: "SchemaError", 12: "SchemaError",
    }  # fmt: skip
    assert rows_of(chunk) == {0: [1, 2], 13: [1, 2]}
    assert "has no schema 9999" in chunk.failures[1].message
    assert "is JSON, not AVRO: --input_format=json reads it" in chunk.failures[11].message


def test_a_frame_in_a_header_is_read_as_one_before_the_value(shared_registry: SchemaRegistryStub) -> None:
    """As confluent-kafka's ``header_schema_id_serializer`` writes it, a GUID. A header counts more than the value."""
    from confluent_kafka.schema_registry import header_schema_id_serializer

    framed = avro(shared_registry.url, **{"schema.id.serializer": header_schema_id_serializer})
    good = framed.record({"x": [1.0, 2.0], "note": None})
    [(name, frame)] = good.headers
    assert (name, frame is not None and len(frame), good.value) == (
        "__value_schema_id",
        17,
        framed.serialize({"x": [1.0, 2.0], "note": None}),
    )
    assert frame is not None
    assert good.value is not None
    number = b"\0" + shared_registry.add(X_SCHEMA, subject="topic-value").to_bytes(4, "big")
    chunk = framed.decode(
        [
            good,
            good._replace(value=frame + good.value, headers=[]),
            good._replace(headers=[("__key_schema_id", b"?"), (name, number), (name, b"only the first counts")]),
            good._replace(headers=[(name, frame[:9])]),
            good._replace(headers=[(name, frame[:1] + bytes(16))]),
            good._replace(headers=[(name, b"?")]),
            good._replace(headers=[(name, b"")]),
            good._replace(headers=[(name, frame + b"more")]),
            good._replace(headers=[(name, None)], value=number + good.value),
            good._replace(value=None),
            good._replace(value=b""),
        ]
    )
    framed.close()
    assert rows_of(chunk) == {row: [1, 2] for row in (0, 1, 2, 7, 8)}
    assert classes(chunk) == {
        3: "FrameError", 4: "UnknownSchema", 5: "FrameError", 6: "FrameError", 9: "Tombstone", 10: "AvroError",
    }  # fmt: skip
    for row, size in ((3, "9 bytes"), (5, "1 byte")):
        assert chunk.failures[row].message.startswith(f"the header __value_schema_id ({size}) has no schema's frame")
    assert "__value_schema_id" not in chunk.failures[6].message, "it has no frame at all"
    assert "00000000-0000-0000-0000-000000000000" in chunk.failures[4].message


def test_json_with_a_broken_frame_in_its_header() -> None:
    """The bytes of the header were told as those of the value."""
    [record] = records(b'{"x": 1}')
    value = framed_value(record._replace(headers=[("__value_schema_id", b"{")]))
    assert value is not None
    for reader in (FramedJson(), FramedJson(optional=True)):
        with pytest.raises(FrameError, match=r"^the header __value_schema_id \(1 byte\) has no schema's frame"):
            reader.read(value)


def test_the_readers_schema(framed: Framed, shared_registry: SchemaRegistryStub) -> None:
    """A producer that does not know a field yet: its default stands in."""
    schema = json.loads(X_SCHEMA)
    schema["fields"] = [{"name": "x", "type": {"type": "array", "items": "double"}, "default": [7, 8]}]
    number = shared_registry.add('{"type":"record","name":"Row","fields":[{"name":"old","type":"int"}]}', subject="older")
    options = FormatOptions(json.dumps(schema), RegistryConfig(shared_registry.url))
    framed_again = avro(shared_registry.url)
    framed_again.decoder = Decoder(X, "avro", formats=options)
    old = b"\0" + number.to_bytes(4, "big") + b"\x02"
    chunk = framed_again.decode(records(framed.serialize({"x": [1.0, 2.0], "note": "n"}), old))
    framed_again.close()
    assert rows_of(chunk) == {0: [1, 2], 1: [7, 8]}


# ---------------------------------------------------------------------- JSON behind a frame

FRAME = b"\0\0\0\0\x01"
URL = RegistryConfig("http://127.0.0.1:1")


def test_json_with_its_frame_in_a_header() -> None:
    [record] = records(b'{"x": [1, 2.00], "id": 12345678901234567890123}')
    decoder = Decoder(X, "json", formats=FormatOptions(registry=URL, pass_through=(("id", "$.id"),)))
    chunk = decoder.decode([record._replace(headers=[("__value_schema_id", b"\1" + bytes(16))])])
    assert (rows_of(chunk), chunk.carried) == ({0: [1, 2]}, [b'"id":12345678901234567890123'])


def test_json_loses_its_frame_and_nobody_is_asked() -> None:
    values = [FRAME + b'{"x": [1, 2]}', b'{"x": [1, 2]}', FRAME[:4], FRAME, FRAME + b"{", None, FRAME + b" [3, 4]"]
    chunk = decode(X, "json", *values, registry=URL)
    assert rows_of(chunk) == {0: [1, 2], 6: [3, 4]}
    assert classes(chunk) == {1: "FrameError", 2: "FrameError", 3: "JsonError", 4: "JsonError", 5: "Tombstone"}
    assert "leave out --schema_registry" in chunk.failures[1].message


def test_merging_leaves_the_frame_out() -> None:
    """It names the schema of the input, which the output is not of."""
    encoder = Encoder("out", "dlq", "m", output_mode="merge", framed=True)
    chunk = Decoder(X, "json", keep_documents=True, formats=FormatOptions(registry=URL)).decode(
        records(FRAME + b' {"x": [1.50, 2]} ', FRAME + b"[1, 2]")
    )
    answered = AnsweredSegment([0, 1], {"y": np.array([1.0, 2.0], np.float32)}, "1", 1.0, 1)
    chunk.records[0] = chunk.records[0]._replace(
        value=b' {"x": [1.50, 2]} ', headers=[("__value_schema_id", FRAME), ("a", b"b")]
    )
    found = encoder.encode(PredictedChunk(chunk.records, [answered], chunk.failures, chunk.documents))
    assert [name for name, _ in found[0].headers if not name.startswith("inference.")] == ["a"], "nor does the header stay"
    assert [record.value for record in found] == [
        b'{"x": [1.50, 2],"prediction":{"y":1.0}}',
        b'{"input":[1, 2],"prediction":{"y":2.0}}',
    ]
