"""What a Protobuf message may cost in memory, depth and time: proven from its schema, or else counted in its bytes.

Two bytes are an empty message, which becomes an object with the defaults of all its fields: a message of 500 fields takes
40,000 bytes for two. A packed number takes one byte, and 40 as an item of a list. So a value is parsed only if

* its length, times the most memory that a byte of this schema can take, is within the limit; or
* a walk over its bytes, which makes no objects, has counted what it takes.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from transforms.formats.limits import NUMBER_BYTES, VALUE_BYTES, too_large
from transforms.formats.varint import MalformedError

MAX_DEPTH = 100
"""How deep messages may be nested in each other: Protobuf's own limit."""

_MAX_VARINT_BYTES = 10
_POINTER_BYTES = 8
_FIELD_BYTES = 40  # of a dict's entry, without its value
_SLOT_BYTES = 16  # of a field in a parsed message, set or not
_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_CONTINUED = bytes(range(0x80, 0x100))
"""The bytes of a varint that are not its last."""

_WIRE_TYPES = {
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64), _FIXED64),
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32), _FIXED32),
    **dict.fromkeys((FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE), _LENGTH),
    FieldDescriptor.TYPE_GROUP: _GROUP,
}
"""The wire type of a field's type; of all others a varint."""


@dataclasses.dataclass(eq=False, slots=True)
class _Field:
    """A field: its wire type, the memory of a value without its content, and what it holds if that is a message."""

    wire: int
    memory: int
    message: MessageCost | None
    is_repeated: bool


class MessageCost:
    """What messages of one type cost.

    Args:
        descriptor: The type.

    Attributes:
        memory: Bytes of memory of a message without any field set, as an object with its defaults.
        fields: Its fields by their numbers.
    """

    def __init__(self, descriptor: Descriptor):
        self.memory = _memory(descriptor)
        self.fields: dict[int, _Field] = {}
        self._types = [self]
        known, waiting = {descriptor.full_name: self}, [(self, descriptor)]
        while waiting:  # no recursion: types may hold each other any number of levels deep
            cost, of = waiting.pop()
            for field in of.fields:
                held = field.message_type
                if held is not None and held.full_name not in known:
                    known[held.full_name] = made = MessageCost.__new__(MessageCost)
                    made.memory, made.fields, made._types = _memory(held), {}, []
                    self._types.append(made)
                    waiting.append((made, held))
                message = None if held is None else known[held.full_name]
                wire = _WIRE_TYPES.get(field.type, _VARINT)
                cost.fields[field.number] = _Field(wire, _value_memory(field, wire), message, is_repeated(field))

    def proven_bytes(self, max_bytes: int) -> int:
        """Returns the most bytes for which the schema proves that a message takes ``max_bytes`` of memory or less.

        -1 where an empty message takes more. A value's first byte is its field's number, so it has two bytes or more.
        """
        rate = NUMBER_BYTES + _POINTER_BYTES  # a packed number has one byte
        for message in self._types:
            for field in message.fields.values():
                held = 0 if field.message is None else field.message.memory
                rate = max(rate, (field.memory + held + 1) // 2)
        return (max_bytes - self.memory) // rate if self.memory <= max_bytes else -1

    def count(self, value: bytes, start: int, max_bytes: int) -> None:
        """Counts what the message in ``value`` takes, from ``start`` on.

        Raises:
            MalformedError: It is no message, is nested too deeply, or takes more than ``max_bytes``.
        """
        _Walk(value, max_bytes).over(self, start, len(value), 0, 0)


def is_repeated(field: Any) -> bool:
    """Whether a field is a list or a map."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)  # protobuf before 6.31; gone from 7 on


def is_map(field: Any) -> bool:
    """Whether a field is a map: a list of messages of a key and a value."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _memory(descriptor: Descriptor) -> int:
    memory = VALUE_BYTES + _SLOT_BYTES
    for field in descriptor.fields:
        memory += _SLOT_BYTES
        if is_repeated(field):
            memory += _FIELD_BYTES + VALUE_BYTES
        elif not field.has_presence:
            memory += _FIELD_BYTES + NUMBER_BYTES
    return memory


def _value_memory(field: Any, wire: int) -> int:
    """The memory of one value of a field, without its content, or that of the message that it is."""
    memory = _POINTER_BYTES if is_repeated(field) else _FIELD_BYTES
    if is_map(field):
        held = field.message_type.fields_by_name["value"].message_type
        return (
            memory + _FIELD_BYTES + VALUE_BYTES + (0 if held is None else _memory(held))
        )  # an entry may leave its value out
    if field.message_type is not None:
        return memory
    return memory + (VALUE_BYTES if wire == _LENGTH else NUMBER_BYTES)


class _Walk:
    """A walk over the bytes of a message."""

    def __init__(self, value: bytes, max_bytes: int):
        self._value = value
        self._max_bytes = self._left = max_bytes

    def over(self, cost: MessageCost | None, at: int, end: int, depth: int, group: int) -> int:
        """Returns where a message ends that begins at ``at``.

        Args:
            cost: Its type; ``None`` for a group that the schema does not have.
            at: Where it begins.
            end: Where what holds it ends.
            depth: How many messages hold it.
            group: The number of the field whose end ends the message; 0 if ``end`` does.
        """
        if depth > MAX_DEPTH:
            raise MalformedError("it is nested too deeply")
        if cost is not None:
            self._pay(cost.memory)
        fields = {} if cost is None else cost.fields
        while at < end:
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if wire == _END_GROUP:
                if not group or number != group:
                    raise MalformedError("a group ends that did not begin")
                return at
            field = fields.get(number)
            if field is not None and field.wire != wire:
                if field.is_repeated and wire == _LENGTH and field.message is None and field.wire != _LENGTH:
                    at = self._packed(field, at, end)
                    continue
                field = None  # a field of another type is kept as it is, like one that is unknown
            if field is not None:
                self._pay(field.memory)
            if wire == _LENGTH:
                size, at = self._varint(at, end)
                until = self._within(at, size, end)
                if field is None or field.message is None:
                    self._pay(size)
                    at = until
                else:
                    at = self.over(field.message, at, until, depth + 1, 0)
            elif wire == _GROUP:
                at = self.over(None if field is None else field.message, at, end, depth + 1, number)
            elif wire == _VARINT:
                _, at = self._varint(at, end)
            elif wire in _WIDTHS:
                at = self._within(at, _WIDTHS[wire], end)
            else:
                raise MalformedError("a field has no wire type that there is")
        if group:
            raise MalformedError("a group does not end")
        return at

    def _packed(self, field: _Field, at: int, end: int) -> int:
        size, at = self._varint(at, end)
        until = self._within(at, size, end)
        width = _WIDTHS.get(field.wire)
        count = size // width if width else len(self._value[at:until].translate(None, _CONTINUED))
        self._pay(count * field.memory)
        return until

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        number = shift = 0
        while at < end and shift < 7 * _MAX_VARINT_BYTES:
            byte = self._value[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number, at
            shift += 7
        raise MalformedError("a number is cut short, or has more than 64 bits")

    def _within(self, at: int, size: int, end: int) -> int:
        if size > end - at:
            raise MalformedError("it is cut short")
        return at + size

    def _pay(self, memory: int) -> None:
        self._left -= memory
        if self._left < 0:
            raise MalformedError(too_large("it", self._max_bytes))
