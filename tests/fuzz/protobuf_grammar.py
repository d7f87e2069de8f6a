"""Protobuf files and messages, valid and nearly so; written by hand, as no library writes what is wrong."""

from __future__ import annotations

from google.protobuf import descriptor_pb2

from tests.fuzz.source import Source

F = descriptor_pb2.FieldDescriptorProto
_TYPES = tuple(F.Type.values())
_LABELS = (F.LABEL_OPTIONAL, F.LABEL_REPEATED, F.LABEL_OPTIONAL, F.LABEL_REQUIRED)
_OTHERS = (".google.protobuf.Any", ".google.protobuf.Value", "x")
_NUMBERS = (1, 2, 3, 15, 16, 100, 19000, 536870911)
MOST_BYTES = 1 << 16
"""Of what is repeated, at each depth."""


def file_of(source: Source) -> descriptor_pb2.FileDescriptorProto:
    """A file of a few messages that hold each other."""
    file = descriptor_pb2.FileDescriptorProto(name="f.proto", package="t")
    file.syntax = source.pick(("proto3", "proto2", "proto3", "proto4"))
    if source.chance(6):
        file.dependency.append(
            source.pick(("google/protobuf/any.proto", "google/protobuf/struct.proto", "no.proto", "f.proto"))
        )
    file.enum_type.add(name="E").value.add(name="ZERO", number=0)
    names = [f"M{i}" for i in range(1 + source.below(3))]
    for name in names:
        message = file.message_type.add(name=name)
        for index in range(source.below(6)):
            kind = source.pick(_TYPES)
            number = source.pick(_NUMBERS) if source.chance(4) else index + 1
            field = message.field.add(name=f"f{index}", number=number, label=source.pick(_LABELS))
            field.type = kind
            if kind in (F.TYPE_MESSAGE, F.TYPE_GROUP):
                field.type_name = source.pick((f".t.{source.pick(names)}", *_OTHERS))
            elif kind == F.TYPE_ENUM:
                field.type_name = ".t.E"
            if source.chance(4):
                field.options.packed = source.chance(2)
        if source.chance(5):
            message.options.map_entry = True
    return file


def varint(number: int) -> bytes:
    """A number of up to 70 bits."""
    number %= 1 << 70
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _repeated(held: bytes) -> bytes:
    """Repeats it, up to ``MOST_BYTES``: what is repeated may hold repetitions, and 500 of 500 of 500 fill a machine."""
    return held * max(1, min(500, MOST_BYTES // max(1, len(held))))


def message_of(source: Source, depth: int = 6) -> bytes:
    """A message of whatever fields, some of them of the file's numbers."""
    written = b""
    for _ in range(source.below(5)):
        number = source.pick(_NUMBERS) if source.chance(5) else 1 + source.below(6)
        wire = source.below(6)
        written += varint(number << 3 | wire)
        if wire == 0:
            written += varint(source.edge())
        elif wire in (1, 5):
            written += source.take(8 if wire == 1 else 4)
        elif wire == 2:
            held = message_of(source, depth - 1) if depth and source.chance(2) else source.take(source.small())
            held = _repeated(held) if source.chance(8) else held
            written += varint(source.edge() if source.chance(10) else len(held)) + held
        elif wire == 3:
            written += (message_of(source, depth - 1) if depth else b"") + varint(number << 3 | 4)
    return written
