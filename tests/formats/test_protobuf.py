"""Framed Protobuf: equal to what confluent-kafka's own serializer writes, what becomes of its types, and broken values."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.decoding import X, classes, records, rows_of, takes
from tests.formats.framed import Framed
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.avro_schema import SchemaError
from transforms.formats.protobuf import ProtobufError, ProtobufReader
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.types import Signature, TensorSpec

F = descriptor_pb2.FieldDescriptorProto
UNIT = descriptor_pb2.FileDescriptorProto(name="unit.proto", package="t", syntax="proto3")
UNIT.enum_type.add(name="Unit").value.add(name="METRE", number=0)
UNIT.enum_type[0].value.add(name="FOOT", number=1)

FILE = descriptor_pb2.FileDescriptorProto(name="row.proto", package="t", syntax="proto3")
FILE.dependency.extend(["unit.proto", "google/protobuf/timestamp.proto"])
FILE.message_type.add(name="Other").field.add(name="n", number=1, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)
_row = FILE.message_type.add(name="Row")
_row.field.add(name="x", number=1, type=F.TYPE_FLOAT, label=F.LABEL_REPEATED)
_row.field.add(name="raw", number=2, type=F.TYPE_BYTES, label=F.LABEL_OPTIONAL)
_row.field.add(name="big_id", number=3, type=F.TYPE_UINT64, label=F.LABEL_OPTIONAL)
_row.field.add(name="maybe", number=4, type=F.TYPE_DOUBLE, label=F.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0)
_row.field.add(name="unit", number=5, type=F.TYPE_ENUM, type_name=".t.Unit", label=F.LABEL_OPTIONAL)
_row.field.add(name="at", number=6, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=F.LABEL_OPTIONAL)
_row.field.add(name="inner", number=7, type=F.TYPE_MESSAGE, type_name=".t.Row.Inner", label=F.LABEL_REPEATED)
_row.field.add(name="by_name", number=8, type=F.TYPE_MESSAGE, type_name=".t.Row.ByNameEntry", label=F.LABEL_REPEATED)
_row.oneof_decl.add(name="_maybe")
_row.nested_type.add(name="Inner").field.add(name="flag", number=1, type=F.TYPE_BOOL, label=F.LABEL_OPTIONAL)
_entry = _row.nested_type.add(name="ByNameEntry")
_entry.options.map_entry = True
_entry.field.add(name="key", number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
_entry.field.add(name="value", number=2, type=F.TYPE_MESSAGE, type_name=".t.Row.Inner", label=F.LABEL_OPTIONAL)

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
_pool.Add(UNIT)
_pool.Add(FILE)
Row: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("t.Row"))
Inner: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("t.Row.Inner"))


def text_of(file: descriptor_pb2.FileDescriptorProto) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


READER = ProtobufReader(text_of(FILE), {"unit.proto": text_of(UNIT)})
ROW = b"\x02\x02"  # one index: 1, the second message of the file


def test_what_becomes_of_its_types() -> None:
    row = Row(x=[1.5], raw=b"\xff", big_id=2**64 - 1, unit=1, inner=[Inner(flag=True)])
    row.at.seconds = 7
    row.by_name["k"].flag = True
    assert READER.read(ROW + row.SerializeToString()) == {
        "x": [1.5], "raw": b"\xff", "big_id": 2**64 - 1, "unit": "FOOT", "at": 7.0,
        "inner": [{"flag": True}], "by_name": {"k": {"flag": True}},
    }  # fmt: skip
    row = Row(unit=9, maybe=0)
    assert READER.read(ROW + row.SerializeToString()) == {
        "x": [], "raw": b"", "big_id": 0, "maybe": 0.0, "unit": 9, "inner": [], "by_name": {},
    }  # fmt: skip


def test_wrappers_are_their_values() -> None:
    """Set to the default, set, and not set at all; a wrapper of a list, and one in a map."""
    file = descriptor_pb2.FileDescriptorProto(name="wrapped.proto", package="w", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="Wrapped")
    for number, (name, label) in enumerate({"a": 1, "b": 1, "c": 1, "many": 3}.items(), 1):
        kind = ".google.protobuf.DoubleValue"
        message.field.add(name=name, number=number, type=F.TYPE_MESSAGE, type_name=kind, label=label)
    reader = ProtobufReader(text_of(file), {})
    value = b"\x00" + b"\x0a\x00" + b"\x12\x09\x09" + struct.pack("<d", 2.5) + b"\x22\x00"
    assert reader.read(value) == {"a": 0.0, "b": 2.5, "many": [0.0]}


def test_imports_that_no_registry_has_to_have() -> None:
    """Google's common types and Confluent's; a decimal is a number, and what costs too much is refused."""
    file = descriptor_pb2.FileDescriptorProto(name="money.proto", package="m", syntax="proto3")
    file.dependency.extend(
        [
            "confluent/meta.proto",
            "confluent/type/decimal.proto",
            "confluent/types/decimal.proto",
            "google/type/datetime.proto",
        ]
    )
    message = file.message_type.add(name="Payment")
    kinds = {"amount": ".confluent.type.Decimal", "at": ".google.type.DateTime"}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        message.field.add(name=name, number=number, type=F.TYPE_MESSAGE, type_name=kind, label=F.LABEL_OPTIONAL)
    reader = ProtobufReader(text_of(file), {})
    amount = b"\x0a\x02\x30\x39\x18"  # 0x3039 is 12345; field 3 is the scale
    assert reader.read(b"\0\x0a\x06" + amount + b"\x02") == {"amount": 123.45}
    assert reader.read(b"\0\x0a\x06" + amount + b"\0\x12\x03\x08\xea\x0f") == {
        "amount": 12345,
        "at": {"year": 2026, "month": 0, "day": 0, "hours": 0, "minutes": 0, "seconds": 0, "nanos": 0},
    }
    with pytest.raises(ProtobufError, match="a decimal's scale is not from 0 to 1000"):
        reader.read(b"\0\x0a\x07" + amount + b"\x80\x10")


@pytest.mark.parametrize("name", ["google/type/none.proto", "confluent/../os.proto", "google/type/date", "confluent/.proto"])
def test_imports_that_are_none_of_these(name: str) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", dependency=[name])
    with pytest.raises(SchemaError, match="not a whole Protobuf file"):
        ProtobufReader(text_of(file), {})


def test_the_message_is_chosen_by_its_indexes() -> None:
    assert READER.read(b"\x00\x08\x05") == {"n": 5}, "0 alone is the first message"
    assert READER.read(b"\x02\x00\x08\x05") == {"n": 5}
    assert READER.read(b"\x04\x02\x00\x08\x01") == {"flag": True}, "the first of those inside of the second"


@pytest.mark.parametrize(
    "value",
    [b"", b"\x02", b"\x80\x80", b"\x02\x08", b"\x01\x00", b"\xff\xff\xff\xff\xff\xff", ROW + b"\x0a\x05\0", b"\x02\x01"],
)
def test_broken_values(value: bytes) -> None:
    with pytest.raises(ProtobufError):
        READER.read(value)


@given(st.binary(max_size=100))
def test_whatever_comes_is_a_document_or_an_error(value: bytes) -> None:
    for head in (b"", ROW):
        try:
            READER.read(head + value)
        except ProtobufError:
            continue


def test_schemas_that_are_none() -> None:
    for text, sent in (('syntax = "proto3";', r"the text of the \.proto file"), ("no", "something else")):
        with pytest.raises(SchemaError, match=rf"^the registry was asked for .*format=serialized\), and sent {sent}"):
            ProtobufReader(text, {})
    with pytest.raises(SchemaError, match=r"unit\.proto"):
        ProtobufReader(text_of(FILE), {})


# ---------------------------------------------------------------------- through a registry


def protobuf(url: str, signature: Signature = X, **options: Any) -> Framed:
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

    return Framed(url, signature, "protobuf", lambda client: ProtobufSerializer(Row, client), **options)


@pytest.fixture(scope="module")
def shared_registry() -> Iterator[SchemaRegistryStub]:
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    with SchemaRegistryStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def framed(shared_registry: SchemaRegistryStub) -> Iterator[Framed]:
    framed = protobuf(shared_registry.url)
    yield framed
    framed.close()


@given(st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=10))
def test_what_confluents_serializer_writes_is_read_bit_by_bit(framed: Framed, rows: list[list[float]]) -> None:
    """Its file imports two others: one by a reference of the registry, one that comes with Protobuf."""
    chunk = framed.decode(records(*[framed.serialize(Row(x=row)) for row in rows]))
    assert chunk.failures == {}
    [segment] = chunk.segments
    assert segment.tensors["x"].tobytes() == np.array(rows, np.float32).tobytes()


def test_bytes_and_paths(shared_registry: SchemaRegistryStub) -> None:
    signature = takes(image=TensorSpec("string", (-1,)), t=TensorSpec("int64", (-1,)))
    framed = protobuf(shared_registry.url, signature, features=(("image", "$.raw"), ("t", "$.at")))
    row = Row(raw=b"\x89PNG")
    row.at.seconds = 5
    values = [framed.serialize(row), framed.serialize(Row(raw=b"a")), framed.serialize(row)[:-1], None]
    chunk = framed.decode(records(*values))
    framed.close()
    assert (rows_of(chunk, "image"), rows_of(chunk, "t")) == ({0: b"\x89PNG"}, {0: 5})
    assert classes(chunk) == {1: "FieldError", 2: "ProtobufError", 3: "Tombstone"}
    assert chunk.failures[1].message == "t: missing in the record; $.at: nothing at $.at"


def test_a_frame_in_a_header(shared_registry: SchemaRegistryStub) -> None:
    """It has the indexes of the message, too; an empty message has an empty value."""
    from confluent_kafka.schema_registry import header_schema_id_serializer
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

    conf = {"schema.id.serializer": header_schema_id_serializer}
    framed = Framed(shared_registry.url, X, "protobuf", lambda client: ProtobufSerializer(Row, client, conf))
    good, empty = framed.record(Row(x=[1, 2])), framed.record(Row())
    chunk = framed.decode([good, empty])
    framed.close()
    assert (good.value, empty.value) == (Row(x=[1, 2]).SerializeToString(), b"")
    assert (rows_of(chunk), classes(chunk)) == ({0: [1, 2]}, {1: "FieldError"})


def test_a_schema_of_another_kind(framed: Framed, shared_registry: SchemaRegistryStub) -> None:
    number = shared_registry.add('"string"', subject="avro")
    chunk = framed.decode(records(b"\0" + number.to_bytes(4, "big") + b"\0"))
    assert classes(chunk) == {0: "SchemaError"}
    assert "is AVRO, not PROTOBUF: --input_format=avro reads it" in chunk.failures[0].message


def test_without_a_registry_there_is_no_schema() -> None:
    with pytest.raises(ContractError, match="needs --schema_registry"):
        Decoder(X, "protobuf")


@pytest.mark.parametrize("name", ["DESCRIPTOR", "HasField", "ListFields", "SerializeToString", "class"])
def test_a_field_with_a_name_that_messages_have_themselves(name: str) -> None:
    """Optional, so that its presence is asked for, too."""
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", syntax="proto3")
    message = file.message_type.add(name="Odd")
    message.field.add(name=name, number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0)
    message.field.add(name="n", number=2, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)
    message.oneof_decl.add(name="_odd")
    reader = ProtobufReader(text_of(file), {})
    assert reader.read(b"\0\x0a\x01a\x10\x05") == {name: "a", "n": 5}
    assert reader.read(b"\0") == {"n": 0}
