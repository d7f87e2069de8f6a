"""The schema registry's frame of a value: which schema the value is of.

| first byte | then | asked by |
|---|---|---|
| 0 | the schema's id, four bytes, big-endian | ``GET /schemas/ids/{id}`` |
| 1 | the schema's GUID, 16 bytes | ``GET /schemas/guids/{guid}`` |

It stands before the value, or in the header ``__value_schema_id``; where there is such a header, it counts. Of Protobuf the
indexes of the message (``protobuf.py``) follow in the same place. So the bytes of the header and then those of the value are
the first form.

Sources: Confluent's "Wire format" (Schema Registry documentation); ``SchemaId`` and ``dual_schema_id_deserializer`` in
confluent-kafka-python. Apicurio, Karapace and Redpanda use the form before the value.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.codecs import FormatError, parse_json
from transforms.printable import counted
from transforms.types import KafkaRecord

VALUE_HEADER = "__value_schema_id"
"""The header that has the frame of a record's value."""

MAX_ID = (1 << 31) - 1
"""The largest schema id: registries use Java's ``int``, and answer a larger id as if the address were wrong."""

_BYTES = {b"\x00": 5, b"\x01": 17}
"""The length of a frame by its first byte."""

SchemaKey = int | str
"""What a registry knows a schema by: its id, or its GUID as text."""


class FrameError(FormatError):
    """The value has no schema registry's frame."""

    dead_letter_class = DeadLetterClass.FRAME_ERROR


class _BrokenHeader(bytes):
    """What a record's header has in place of a frame."""


class Frame(NamedTuple):
    """The frame of a value.

    Attributes:
        schema: The schema's id, or its GUID.
        end: Where the data begin.
    """

    schema: SchemaKey
    end: int


def read_frame(value: bytes) -> Frame:
    """Reads the frame that ``value`` begins with.

    Raises:
        FrameError: There is no frame, or it is cut short.
    """
    if isinstance(value, _BrokenHeader):
        raise FrameError(
            f"the header {VALUE_HEADER} ({counted(len(value), 'byte')}) has no schema's frame: 0 and an id of "
            "4 bytes, or 1 and a GUID of 16; whoever writes it must mend it, or leave it out where the value has its frame"
        )
    end = _BYTES.get(value[:1])
    if end is None:
        raise FrameError(
            "the value does not begin with 0 or 1, and no header has its schema, so it has no schema registry's frame; "
            "leave out --schema_registry"
        )
    if len(value) < end:
        raise FrameError(
            f"the value ({counted(len(value), 'byte')}) is shorter than a schema registry's frame ({end} bytes)"
        )
    if end == 5:
        return Frame(int.from_bytes(value[1:5], "big"), end)
    return Frame(str(uuid.UUID(bytes=value[1:17])), end)


def framed_value(record: KafkaRecord, indexes: bool = False) -> bytes | None:
    """Returns the record's value behind its frame, wherever the record has it; a null value stays null.

    Args:
        record: The record.
        indexes: Whether indexes follow the frame in a header, too (Protobuf).

    Where a header has something else, ``read_frame`` says so of what this returns.
    """
    if record.value is None or not record.headers:
        return record.value
    frame = _in_header(record)
    if frame is None:
        return record.value
    end = _BYTES.get(frame[:1], len(frame) + 1)
    if len(frame) < end:
        return _BrokenHeader(frame)  # without the value, whose first bytes are not the rest of the frame
    return (frame if indexes else frame[:end]) + record.value


def unframed_value(record: KafkaRecord) -> bytes:
    """Returns the record's value without its frame; empty if it is null. Indexes of Protobuf stay."""
    value = record.value or b""
    return value if _in_header(record) is not None else value[_BYTES.get(value[:1], 0) :]


def _in_header(record: KafkaRecord) -> bytes | None:
    return next((frame for name, frame in record.headers if name == VALUE_HEADER), None) or None


class FramedJson:
    """Reads framed JSON. The schema is not looked up, because JSON can be parsed without it.

    Args:
        optional: Whether the frame may be left out: no JSON begins with its first byte.
    """

    def __init__(self, optional: bool = False):
        self._optional = optional

    def read(self, value: bytes) -> Any:
        """Parses one value.

        Raises:
            FormatError: The value has no frame, or is not JSON.
        """
        if self._optional and value[:1] not in _BYTES and not isinstance(value, _BrokenHeader):
            return parse_json(value)
        return parse_json(value[read_frame(value).end :])
