"""Predictions as Protobuf messages of any file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from transforms.formats.avro_schema import SchemaError
from transforms.formats.output_fields import identifier
from transforms.formats.output_values import (
    FLOAT32_MAX,
    OutputMismatchError,
    SymbolMismatchError,
    as_bool,
    as_bytes,
    as_float,
    as_list,
    as_object,
    as_text,
    as_whole,
)
from transforms.formats.protobuf import is_wrapper, open_file
from transforms.formats.protobuf_cost import is_map, is_repeated

F = FieldDescriptorProto

_INT32, _INT64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
_SCALARS: dict[int, Callable[[Any], Any]] = {
    F.TYPE_BOOL: as_bool,
    F.TYPE_FLOAT: functools.partial(as_float, most=FLOAT32_MAX),
    F.TYPE_DOUBLE: as_float,
    F.TYPE_STRING: as_text,
    F.TYPE_BYTES: as_bytes,
    **dict.fromkeys((F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32), lambda value: as_whole(value, *_INT32)),
    **dict.fromkeys((F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64), lambda value: as_whole(value, *_INT64)),
    **dict.fromkeys((F.TYPE_UINT32, F.TYPE_FIXED32), lambda value: as_whole(value, 0, (1 << 32) - 1)),
    **dict.fromkeys((F.TYPE_UINT64, F.TYPE_FIXED64), lambda value: as_whole(value, 0, (1 << 64) - 1)),
}


class ProtobufWriter:
    """Writes predictions as messages of a file. What is written begins with the indexes of the message.

    Args:
        text: The file, as a base64 ``FileDescriptorProto``.
        imports: Import name to file, for all files that it imports directly or indirectly.
        record_name: The message's full name; ``None``: the first of the file.

    Raises:
        SchemaError: The text is not such a file, or it has no such message.
    """

    def __init__(self, text: str, imports: Mapping[str, str], record_name: str | None = None):
        file = open_file(text, imports)
        messages = list(file.message_types_by_name.values())
        if not messages:
            raise SchemaError("has no message")
        names = [message.full_name for message in messages]
        if record_name is not None and record_name not in names:
            raise SchemaError(f"has no message {record_name} at its top; it has {', '.join(names)}")
        index = names.index(record_name) if record_name is not None else 0
        self._head = b"\0" if index == 0 else b"\x02" + _varint(index << 1)
        self._descriptor: Descriptor = messages[index]
        self._message: Any = message_factory.GetMessageClass(self._descriptor)

    @property
    def names(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(_by_name(self._descriptor))

    @property
    def needed(self) -> frozenset[str]:
        """The names of the fields that a prediction has to have: none."""
        return frozenset()

    def check(self, name: str, value: Any) -> None:
        """Checks a value of the field ``name``; raises ``OutputMismatchError``."""
        _fill(self._message(), self._descriptor, {name: value})

    def write(self, prediction: dict[str, Any]) -> bytes:
        """Returns the indexes, and the message of a prediction. What it has no field for is left out.

        Raises:
            OutputMismatchError: A value does not fit its field.
        """
        message = self._message()
        _fill(message, self._descriptor, prediction)
        return self._head + bytes(message.SerializeToString(deterministic=True))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


@functools.lru_cache(maxsize=256)
def _by_name(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    return {field.name: field for field in descriptor.fields}


def _fill(message: Any, descriptor: Descriptor, document: dict[str, Any]) -> None:
    fields = _by_name(descriptor)
    for name, value in document.items():
        field = fields.get(identifier(name))
        if field is None or value is None:
            continue
        try:
            _set(message, field, value)
        except OutputMismatchError as error:
            raise OutputMismatchError(f"field {field.name}: {error}") from error


def _set(message: Any, field: FieldDescriptor, value: Any) -> None:
    if is_map(field):
        _set_entries(getattr(message, field.name), field, as_object(value))
    elif is_repeated(field):
        target, items = getattr(message, field.name), as_list(value)
        if field.message_type is None:
            target.extend([_scalar(field, item) for item in items])
            return
        for item in items:
            _fill_any(target.add(), field.message_type, item)
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()
        _fill_any(part, field.message_type, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _set_entries(target: Any, field: FieldDescriptor, entries: dict[str, Any]) -> None:
    assert field.message_type is not None
    kinds = field.message_type.fields_by_name
    if kinds["key"].type != F.TYPE_STRING:
        raise OutputMismatchError("a map whose keys are no strings")
    for key, value in entries.items():
        if kinds["value"].message_type is None:
            target[as_text(key)] = _scalar(kinds["value"], value)
        else:
            _fill_any(target[as_text(key)], kinds["value"].message_type, value)


def _fill_any(message: Any, descriptor: Descriptor, value: Any) -> None:
    inner_list = type(value) is list and len(descriptor.fields) == 1 and is_repeated(descriptor.fields[0])
    if inner_list or is_wrapper(descriptor):
        _set(message, descriptor.fields[0], value)
    else:
        _fill(message, descriptor, as_object(value))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is None:
        return _SCALARS[field.type](value)
    if type(value) is str and value in field.enum_type.values_by_name:
        return field.enum_type.values_by_name[value].number
    raise SymbolMismatchError("not one of the enum's names")
