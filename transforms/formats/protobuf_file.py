"""The Protobuf file that is made of the fields of predictions.

Protobuf has no list of lists: an inner list is a message with one field, ``values``. A field keeps its number for ever: the
numbers of the version before are kept, and a field that is gone keeps its place, unset.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from transforms.formats.avro_schema import SchemaError
from transforms.formats.output_fields import RECORD, Field

F = FieldDescriptorProto
_TYPES: dict[str, F.Type.ValueType] = {
    "boolean": F.TYPE_BOOL,
    "int": F.TYPE_INT32,
    "long": F.TYPE_INT64,
    "ulong": F.TYPE_UINT64,
    "float": F.TYPE_FLOAT,
    "double": F.TYPE_DOUBLE,
    "string": F.TYPE_STRING,
    "bytes": F.TYPE_BYTES,
}
_WORDS = {number: name.removeprefix("TYPE_").lower() for name, number in F.Type.items()}


def make_proto_file(
    fields: Sequence[Field], record_name: str, before: FileDescriptorProto | None = None
) -> FileDescriptorProto:
    """Returns the file of predictions. All fields are optional.

    Args:
        fields: The fields.
        record_name: The message's name, with its package.
        before: The latest version of the file.

    Raises:
        SchemaError: The version before has what is not made here.
    """
    package, _, name = record_name.rpartition(".")
    file = FileDescriptorProto(name=f"{name}.proto", package=package, syntax="proto3")
    message = file.message_type.add(name=name)
    old = before.message_type[0] if before is not None and before.message_type else DescriptorProto()
    numbers = {field.name: field.number for field in old.field}
    fresh = itertools.count(max(numbers.values(), default=0) + 1)
    now = {field.identifier for field in fields}
    for gone in (field for field in old.field if field.name not in now):
        _keep(message, gone, old)
    for field in fields:
        number = numbers.get(field.identifier) or next(fresh)
        added = message.field.add(name=field.identifier, number=number)
        if field.identifier != field.name:
            added.json_name = field.name
        _set_type(message, added, field, field.lists)
        if not field.lists:
            added.proto3_optional = True
    message.field.sort(key=lambda field: field.number)
    for index, optional in enumerate(field for field in message.field if field.proto3_optional):
        optional.oneof_index = index
        message.oneof_decl.add(name=f"_{optional.name}")
    return file


def _set_type(message: DescriptorProto, added: FieldDescriptorProto, field: Field, lists: int) -> None:
    added.label = F.LABEL_REPEATED if lists else F.LABEL_OPTIONAL
    if lists > 1:
        name = f"{field.type.capitalize()}{'List' * (lists - 1)}"
        if (inner := _add_message(message, name)) is not None:
            _set_type(message, inner.field.add(name="values", number=1), field, lists - 1)
        added.type, added.type_name = F.TYPE_MESSAGE, name
    elif field.type == RECORD:
        name = f"{field.identifier.capitalize()}Entry"
        if (entry := _add_message(message, name)) is not None:
            for number, member in enumerate(field.fields, 1):
                _set_type(message, entry.field.add(name=member.identifier, number=number), member, member.lists)
        added.type, added.type_name = F.TYPE_MESSAGE, name
    else:
        added.type = _TYPES[field.type]


def _add_message(message: DescriptorProto, name: str) -> DescriptorProto | None:
    """Adds a message inside of ``message``; ``None`` if it is there."""
    return None if _inner(message, name) is not None else message.nested_type.add(name=name)


def _inner(message: DescriptorProto, name: str) -> DescriptorProto | None:
    return next((inner for inner in message.nested_type if inner.name == name), None)


def _keep(message: DescriptorProto, field: FieldDescriptorProto, old: DescriptorProto) -> None:
    """Keeps a field of the version before, with the messages that it is made of."""
    kept = message.field.add()
    kept.CopyFrom(field)
    kept.ClearField("oneof_index")
    _keep_messages(message, kept, old)


def _keep_messages(message: DescriptorProto, field: FieldDescriptorProto, old: DescriptorProto) -> None:
    if not field.type_name:
        return
    name = field.type_name = field.type_name.rpartition(".")[2]
    inner = _inner(old, name)
    if inner is None:
        raise SchemaError(f"its field {field.name} is of a type that is not made of a prediction")
    if (added := _add_message(message, name)) is not None:
        added.CopyFrom(inner)
        for part in added.field:
            _keep_messages(message, part, old)


def proto_text(file: FileDescriptorProto) -> str:
    """Returns the source of a file of ``make_proto_file``, which every registry takes and people read."""
    head = ['syntax = "proto3";', *([f"package {file.package};"] if file.package else []), ""]
    return "\n".join([*head, *_lines(file.message_type[0], "")]) + "\n"


def _lines(message: DescriptorProto, indent: str) -> list[str]:
    lines = [f"{indent}message {message.name} {{"]
    for field in message.field:
        label = "repeated " if field.label == F.LABEL_REPEATED else "optional " if field.proto3_optional else ""
        quoted = field.json_name.replace("\\", "\\\\").replace('"', '\\"')
        option = f' [json_name = "{quoted}"]' if field.json_name else ""
        lines.append(f"{indent}  {label}{field.type_name or _WORDS[field.type]} {field.name} = {field.number}{option};")
    for inner in message.nested_type:
        lines += ["", *_lines(inner, indent + "  ")]
    return [*lines, f"{indent}}}"]
