"""Protobuf records that would take memory without end, or too deep: each is a dead letter, and no other is."""

from __future__ import annotations

import base64
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.avro_schema import SchemaError
from transforms.formats.protobuf import ProtobufError, ProtobufReader
from transforms.formats.protobuf_cost import MAX_DEPTH, MessageCost
from transforms.formats.varint import MalformedError

F = descriptor_pb2.FieldDescriptorProto
MANY = 500
LIMIT = 4 << 20


def hostile_file() -> descriptor_pb2.FileDescriptorProto:
    """Messages in which a few bytes stand for many: of many fields, in lists, in maps, of themselves."""
    file = descriptor_pb2.FileDescriptorProto(name="hostile.proto", package="t", syntax="proto2")
    root = file.message_type.add(name="Root")
    wide = file.message_type.add(name="Wide")
    for number in range(1, MANY + 1):
        wide.field.add(name=f"f{number}", number=number, type=F.TYPE_INT64, label=F.LABEL_REPEATED)
    root.field.add(name="wide", number=1, type=F.TYPE_MESSAGE, type_name=".t.Wide", label=F.LABEL_REPEATED)
    root.field.add(name="n", number=2, type=F.TYPE_INT64, label=F.LABEL_REPEATED).options.packed = True
    root.field.add(name="d", number=3, type=F.TYPE_DOUBLE, label=F.LABEL_REPEATED).options.packed = True
    root.field.add(name="s", number=4, type=F.TYPE_STRING, label=F.LABEL_REPEATED)
    root.field.add(name="root", number=5, type=F.TYPE_MESSAGE, type_name=".t.Root", label=F.LABEL_OPTIONAL)
    root.field.add(name="group", number=6, type=F.TYPE_GROUP, type_name=".t.Root", label=F.LABEL_OPTIONAL)
    root.field.add(name="by", number=7, type=F.TYPE_MESSAGE, type_name=".t.Root.ByEntry", label=F.LABEL_REPEATED)
    root.field.add(name="one", number=8, type=F.TYPE_BYTES, label=F.LABEL_OPTIONAL)
    entry = root.nested_type.add(name="ByEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=F.TYPE_MESSAGE, type_name=".t.Wide", label=F.LABEL_OPTIONAL)
    return file


FILE = hostile_file()
POOL = descriptor_pool.DescriptorPool()
POOL.Add(FILE)
ROOT = POOL.FindMessageTypeByName("t.Root")
Root: Any = message_factory.GetMessageClass(ROOT)


def reader_of(file: descriptor_pb2.FileDescriptorProto, max_bytes: int = LIMIT) -> ProtobufReader:
    return ProtobufReader(base64.b64encode(file.SerializeToString()).decode(), {}, max_bytes)


READER = reader_of(FILE)


def nested(head: bytes, levels: int) -> bytes:
    """A message that holds itself so many levels deep."""
    value = b""
    for _ in range(levels):
        size = bytearray()
        number = len(value)
        while number > 0x7F:
            size.append(number & 0x7F | 0x80)
            number >>= 7
        value = head + bytes([*size, number]) + value
    return value


@pytest.mark.parametrize(
    "value",
    [
        b"\x0a\x00" * 200_000,
        b"\x12\x80\x80\x40" + b"\x01" * (1 << 20),
        b"\x1a\x80\x80\x40" + b"\x01" * (1 << 20),
        b"\x10\x01" * 200_000,
        b"\x22\x00" * 200_000,
        b"".join(b"\x3a\x04\x08" + bytes([0x80 | at & 0x7F, at >> 7 & 0x7F]) + b"" for at in range(16384)),
        b"\x2b\x2c" * 100_000,
    ],
    ids=["wide messages", "packed numbers", "packed doubles", "numbers", "strings", "map entries", "unknown groups"],
)
def test_what_a_few_bytes_stand_for_is_bounded(value: bytes) -> None:
    """It is refused before it is there, or fits within the limit."""
    tracemalloc.start()
    began = time.process_time()
    try:
        READER.read(b"\0" + value)
    except ProtobufError as error:
        assert "--max_record_bytes" in str(error) or "its schema" in str(error)  # noqa: PT017  # either is right
    took_s = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * LIMIT + 2 * len(value)
    assert took_s < 20  # tracing makes it ten times as slow


def test_two_bytes_that_stand_for_500_lists_are_named() -> None:
    with pytest.raises(ProtobufError, match=r"more than 4194304 bytes of memory \(--max_record_bytes\)"):
        READER.read(b"\0" + b"\x0a\x00" * 1000)
    assert len(READER.read(b"\0" + b"\x0a\x00" * 50)["wide"]) == 50


def test_a_message_that_is_too_large_empty() -> None:
    """One that has 500 lists, where so much is not allowed."""
    with pytest.raises(ProtobufError, match="--max_record_bytes"):
        reader_of(FILE, 1000).read(b"\x02\x02")


@pytest.mark.parametrize("head", [b"\x2a", b"\x0a"], ids=["known", "the wrong message"])
def test_messages_nested_too_deeply(head: bytes) -> None:
    for read in (lambda value: READER.read(b"\0" + value), lambda value: MessageCost(ROOT).count(value, 0, LIMIT)):
        with pytest.raises((ProtobufError, MalformedError)):
            read(nested(b"\x2a", MAX_DEPTH + 1) if head == b"\x2a" else b"\x0a\x01")


def test_groups_nested_too_deeply() -> None:
    """Also groups that the schema does not have."""
    for start, end in ((b"\x33", b"\x34"), (b"\x7b", b"\x7c")):
        for levels, fits in ((MAX_DEPTH, True), (1000, False)):
            for read in (lambda value: READER.read(b"\0" + value), lambda value: MessageCost(ROOT).count(value, 0, LIMIT)):
                try:
                    read(start * levels + end * levels)
                except (ProtobufError, MalformedError):
                    assert not fits
                else:
                    assert fits


def test_types_that_hold_each_other_10000_levels_deep() -> None:
    """A schema of the registry that Protobuf's own recursion can't follow."""
    file = descriptor_pb2.FileDescriptorProto(name="deep.proto", package="t", syntax="proto3")
    for level in range(10_000):
        message = file.message_type.add(name=f"M{level}")
        if level < 9_999:
            message.field.add(name="m", number=1, type=F.TYPE_MESSAGE, type_name=f".t.M{level + 1}", label=F.LABEL_OPTIONAL)
    with pytest.raises(ProtobufError, match="is not Protobuf of its schema"):
        reader_of(file).read(b"\0\x0a\x00")


@pytest.mark.parametrize(
    "name", ["google/protobuf/../../os.proto", "google/protobuf/a.b.proto", "google/protobuf/none.proto"]
)
def test_an_import_that_no_file_of_protobuf_is(name: str) -> None:
    """It never makes a module of that name be imported."""
    file = descriptor_pb2.FileDescriptorProto(name="f.proto", dependency=[name])
    with pytest.raises(SchemaError, match="not a whole Protobuf file"):
        reader_of(file)


NUMBERS = st.integers(0, 2**64 - 1)
ROOTS: Callable[[Any], st.SearchStrategy[Any]] = lambda inner: st.builds(  # noqa: E731
    lambda wide, n, d, s, root, by, one: Root(
        wide=[{"f1": part} for part in wide], n=n, d=d, s=s, root=root, one=one, by={key: {} for key in by}
    ),
    st.lists(st.lists(st.integers(-5, 5), max_size=3), max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.lists(st.floats(), max_size=4),
    st.lists(st.text(max_size=5), max_size=3),
    inner,
    st.lists(st.integers(-5, 5), max_size=2),
    st.binary(max_size=5),
)


@given(st.recursive(st.none(), ROOTS, max_leaves=5).filter(lambda root: root is not None))
def test_whatever_is_a_message_is_one_to_the_walk(root: Any) -> None:
    """It refuses nothing that fits, and what it counts is no less than what an empty message takes."""
    MessageCost(ROOT).count(root.SerializeToString(), 0, 1 << 30)


@given(st.binary(max_size=60))
def test_the_walk_takes_whatever_the_parser_takes(value: bytes) -> None:
    try:
        Root.FromString(value)
    except Exception:  # noqa: BLE001  # no message: the walk may say so, or leave it to the parser
        return
    MessageCost(ROOT).count(value, 0, 1 << 30)
