"""The frame that Confluent-compatible serializers put before a value: a zero, then the schema's id (four bytes, big-endian).

Source: Confluent's "Wire format" (Schema Registry documentation), which Apicurio, Karapace and Redpanda keep to.
"""

from __future__ import annotations

from typing import Any

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.codecs import FormatError, parse_json

FRAME_BYTES = 5
MAX_ID = (1 << 31) - 1
"""Registries count with Java's ``int``; asked for more, they answer as if the address were wrong."""


class FrameError(FormatError):
    """The value does not begin with a schema registry's frame."""

    dead_letter_class = DeadLetterClass.FRAME_ERROR


def schema_id(value: bytes) -> int:
    """Returns the id in the frame of ``value``; what is framed begins at ``FRAME_BYTES``.

    Raises:
        FrameError: There is no frame, or it is cut short.
    """
    if value[:1] == b"\x01":
        raise FrameError("the value begins with 1, the frame with a schema's GUID, which is not read; write with schema ids")
    if value[:1] != b"\x00":
        raise FrameError(
            "the value does not begin with 0, as a schema registry's frame does; leave --schema_registry out if it has none"
        )
    if len(value) < FRAME_BYTES:
        raise FrameError(f"the value ({len(value)} bytes) is shorter than a schema registry's frame ({FRAME_BYTES} bytes)")
    return int.from_bytes(value[1:FRAME_BYTES], "big")


class FramedJson:
    """Reads JSON behind a frame. The schema is not asked for: JSON says itself what it is."""

    def read(self, value: bytes) -> Any:
        """Parses one value.

        Raises:
            FormatError: No frame, or no JSON.
        """
        schema_id(value)
        return parse_json(value[FRAME_BYTES:])
