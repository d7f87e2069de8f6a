"""Protobuf values framed by a schema registry → Python values of JSON's types, and bytes.

After the frame come the indexes of the message in its ``.proto`` file, then the message. The indexes are zigzag varints:
their number, then one for each level of nesting; a single 0 means the first message. Source: Confluent's "Wire format". The
schema is requested as a serialized ``FileDescriptorProto`` (``format=serialized``), since compiling ``.proto`` sources needs
``protoc``.

Fields keep the names of the ``.proto`` file, enums become their names, maps become objects. A field that has presence and is
not set is left out. Any other field that is not set has its default. A wrapper (``google.protobuf.DoubleValue``, …) is its
value, a ``Timestamp`` the seconds since 1970, and Confluent's ``Decimal`` a number, as Avro's are.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.message import DecodeError, Message

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.avro_schema import SchemaError
from transforms.formats.codecs import FormatError
from transforms.formats.decimals import DecimalError, decimal_number
from transforms.formats.limits import MAX_RECORD_BYTES
from transforms.formats.protobuf_cost import MessageCost, is_map, is_repeated
from transforms.formats.protobuf_imports import built_in
from transforms.formats.varint import MalformedError
from transforms.printable import counted

_TIMESTAMP = "google.protobuf.Timestamp"
_DECIMAL = "confluent.type.Decimal"
_WRAPPERS = {
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}

_MAX_INDEXES = 100  # more levels than Protobuf allows


class ProtobufError(FormatError):
    """A value is not a Protobuf message of its schema."""

    dead_letter_class = DeadLetterClass.PROTOBUF_ERROR


class _Type(NamedTuple):
    """A message's class, and what its values may cost."""

    message: type[Message]
    cost: MessageCost
    proven_bytes: int


class ProtobufReader:
    """Reads messages of one file.

    Args:
        text: The file, as a base64 ``FileDescriptorProto``.
        imports: Import name to file, for all files that it imports directly or indirectly.
        max_bytes: The most memory in bytes that a value may take.

    Raises:
        SchemaError: The text is not such a file, or an import is missing.
    """

    def __init__(self, text: str, imports: Mapping[str, str], max_bytes: int = MAX_RECORD_BYTES):
        self._file = open_file(text, imports)
        self._max_bytes = max_bytes
        self._types: dict[tuple[int, ...], _Type] = {}

    def read(self, value: bytes, start: int = 0) -> Any:
        """Reads the message that ``value`` holds from ``start`` on.

        Raises:
            ProtobufError: The value is not a message of the schema, or would take too much memory.
        """
        indexes, start = _indexes(value, start)
        where = f"the value ({counted(len(value), 'byte')}) is not Protobuf of its schema"
        try:
            found = self._types.get(indexes) or self._types.setdefault(indexes, self._type(indexes))
            if len(value) - start > found.proven_bytes:
                found.cost.count(value, start, self._max_bytes)
            return _document(found.message.FromString(value[start:]))
        except (MalformedError, DecimalError) as error:
            raise ProtobufError(f"{where}: {error}") from error
        except (DecodeError, RecursionError) as error:
            raise ProtobufError(where) from error

    def _type(self, indexes: Sequence[int]) -> _Type:
        messages: Sequence[Descriptor] = list(self._file.message_types_by_name.values())
        found: Descriptor | None = None
        for index in indexes:
            if not 0 <= index < len(messages):
                raise ProtobufError("the value names a message that its schema does not have")
            found = messages[index]
            messages = found.nested_types
        assert found is not None
        cost = MessageCost(found)
        return _Type(message_factory.GetMessageClass(found), cost, cost.proven_bytes(self._max_bytes))


def open_file(text: str, imports: Mapping[str, str]) -> FileDescriptor:
    """Opens a file, in a pool of its own.

    Args:
        text: The file, as a base64 ``FileDescriptorProto``.
        imports: Import name to file, for all files that it imports directly or indirectly.

    Raises:
        SchemaError: The text is not such a file, or an import is missing.
    """
    pool = descriptor_pool.DescriptorPool()
    try:
        for name, source in imports.items():
            _add(pool, read_file(source, name))
        return _add(pool, read_file(text, None))
    except SchemaError:
        raise
    except (TypeError, KeyError, ValueError) as error:
        what = str(error).partition("\n")[0][:200]
        raise SchemaError(f"the schema is not a whole Protobuf file: {what}") from error


def is_wrapper(descriptor: Descriptor) -> bool:
    """Whether a message is one of Protobuf's wrappers of a single value."""
    return descriptor.full_name in _WRAPPERS


def read_file(text: str, name: str | None = None) -> descriptor_pb2.FileDescriptorProto:
    """Reads a base64 ``FileDescriptorProto``, and gives it another name.

    Raises:
        SchemaError: The text is none.
    """
    try:
        found = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError) as error:
        sent = "the text of the .proto file" if re.search(r"\b(syntax|message)\b", text) else "something else"
        raise SchemaError(
            f"the registry was asked for the serialized file (format=serialized), and sent {sent}: Protobuf needs a "
            "registry that has it, as Confluent's does"
        ) from error
    if name is not None:
        found.name = name
    return found


def _add(pool: descriptor_pool.DescriptorPool, file: descriptor_pb2.FileDescriptorProto) -> FileDescriptor:
    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            known = built_in(name)
            if known is None:
                raise
            _add(pool, known)
    pool.Add(file)
    return pool.FindFileByName(file.name)


def _indexes(value: bytes, start: int) -> tuple[tuple[int, ...], int]:
    count, start = _zigzag(value, start)
    if count == 0:
        return (0,), start
    if not 0 < count <= _MAX_INDEXES:
        raise ProtobufError("the value does not begin with a message's indexes")
    indexes = []
    for _ in range(count):
        index, start = _zigzag(value, start)
        indexes.append(index)
    return tuple(indexes), start


def _zigzag(value: bytes, start: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 35, 7):
        if start >= len(value):
            break
        byte = value[start]
        start += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), start
    raise ProtobufError(f"the value ({counted(len(value), 'byte')}) does not begin with a message's indexes")


def _document(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = type(message)  # a field may be called DESCRIPTOR or HasField, and then hides the message's own
    for field in kind.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_repeated(field):
            found[field.name] = _entries(field, value) if is_map(field) else [_value(field, part) for part in value]
        elif not field.has_presence or kind.HasField(message, field.name):
            found[field.name] = _value(field, value)
    return found


def _entries(field: Any, entries: Mapping[Any, Any]) -> dict[str, Any]:
    kind = field.message_type.fields_by_name["value"]
    return {str(key).lower() if type(key) is bool else str(key): _value(kind, value) for key, value in entries.items()}


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        known = field.message_type.full_name
        if known in _WRAPPERS:
            return value.value
        if known == _DECIMAL:
            return decimal_number(value.value, value.scale)
        return value.seconds + value.nanos / 1e9 if known == _TIMESTAMP else _document(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value
