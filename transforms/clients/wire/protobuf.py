"""``PrivatePool``: protobuf messages that are described in Python, in a descriptor pool of their own.

Generated code registers its messages in the pool of the process. There they would clash with the same messages of an
official package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = re.compile(r"(repeated )?(?:map<string, ([\w.]+)>|([\w.]+)) (\w+) = (\d+)(?: \((\w+)\))?")
"""One field as in a .proto file, followed by the name of its oneof in parentheses."""


class PrivatePool:
    """Messages of proto3, by their full names.

    Args:
        name: The prefix of the pool's file names. Pools that are built on each other must have different names.
        messages: Full name to the fields, as in a .proto file, separated by semicolons. The name of a field's oneof follows
            it in parentheses.
        enums: Full name to the names and numbers of its values.
        packages: Each package of these messages to the packages that it uses, which must come before it.
        on: A pool whose messages the new ones may use as well.
    """

    def __init__(
        self,
        name: str,
        messages: Mapping[str, str],
        enums: Mapping[str, Mapping[str, int]],
        packages: Mapping[str, Sequence[str]],
        on: PrivatePool | None = None,
    ):
        self._name = name
        self._messages, self._enums, self._packages = messages, enums, packages
        self._known_enums: set[str] = {*enums, *(on._known_enums if on else ())}
        self._files_below: list[str] = [*on._files_below, *on._own_files()] if on else []
        self._pool: descriptor_pool.DescriptorPool = on._pool if on else descriptor_pool.DescriptorPool()
        for package, dependencies in packages.items():
            self._pool.Add(self._file(package, dependencies))

    def message_class(self, full_name: str) -> Any:
        """Returns the message class of a full name, such as ``tensorflow.TensorProto``.

        Raises:
            KeyError: The pool has no such message.
        """
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(full_name))

    def _file(self, package: str, dependencies: Sequence[str]) -> descriptor_pb2.FileDescriptorProto:
        """One file of the pool for each package."""
        file = descriptor_pb2.FileDescriptorProto(name=self._file_name(package), package=package, syntax="proto3")
        file.dependency.extend([*self._files_below, *map(self._file_name, dependencies)])
        declared: dict[str, descriptor_pb2.DescriptorProto] = {}
        names = [name for name in (*self._messages, *self._enums) if self._package(name) == package]
        for name in sorted(names, key=lambda name: name.count(".")):  # an outer message before those nested in it
            outer, _, simple = name.rpartition(".")
            if name in self._enums:
                enum = declared.get(outer, file).enum_type.add(name=simple)
                for value, number in self._enums[name].items():
                    enum.value.add(name=value, number=number)
                continue
            message = declared[outer].nested_type.add() if outer in declared else file.message_type.add()
            message.name = simple
            declared[name] = message
            for field in filter(None, map(str.strip, self._messages[name].split(";"))):
                self._add_field(message, name, field)
        return file

    def _file_name(self, package: str) -> str:
        return f"transforms/{self._name}/{package}.proto"

    def _own_files(self) -> list[str]:
        return [self._file_name(package) for package in self._packages]

    def _package(self, name: str) -> str:
        return max((package for package in self._packages if name.startswith(package + ".")), key=len)

    def _add_field(self, message: descriptor_pb2.DescriptorProto, owner: str, text: str) -> None:
        matched = _FIELD.fullmatch(text)
        assert matched, f"{owner}: {text!r} is no field"
        repeated, map_value, type_name, name, number, oneof = matched.groups()
        field = message.field.add(name=name, number=int(number), label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        if map_value:
            entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
            entry.options.map_entry = True
            self._add_field(entry, "", "string key = 1")
            self._add_field(entry, "", f"{map_value} value = 2")
            type_name, repeated = f"{owner}.{entry.name}", "repeated "
        if repeated:
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        if type_name in self._known_enums:
            field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM, f".{type_name}"
        elif "." in type_name:
            field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f".{type_name}"
        else:
            field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{type_name.upper()}")
        if oneof:
            names = [declaration.name for declaration in message.oneof_decl]
            if oneof not in names:
                message.oneof_decl.add(name=oneof)
                names.append(oneof)
            field.oneof_index = names.index(oneof)
