"""The schema registry's frame before a value: a zero byte, then the schema's id (four bytes, big-endian).

Source: Confluent's "Wire format" (Schema Registry documentation). Apicurio, Karapace and Redpanda use the same format.
"""

from __future__ import annotations

from typing import Any

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.codecs import FormatError, parse_json

FRAME_BYTES = 5
MAX_ID = (1 << 31) - 1
"""The largest schema id: registries use Java's ``int``, and answer a larger id as if the address were wrong."""


class FrameError(FormatError):
    """The value does not begin with a schema registry's frame."""

    dead_letter_class = DeadLetterClass.FRAME_ERROR


def schema_id(value: bytes) -> int:
    """Returns the schema id in the frame of ``value``. The data begin at ``FRAME_BYTES``.

    Raises:
        FrameError: There is no frame, or it is cut short.
    """
    if value[:1] == b"\x01":
        raise FrameError("the value begins with 1, a frame with a schema's GUID, which is not supported; use schema ids")
    if value[:1] != b"\x00":
        raise FrameError(
            "the value does not begin with 0, so it has no schema registry's frame; leave out --schema_registry"
        )
    if len(value) < FRAME_BYTES:
        raise FrameError(f"the value ({len(value)} bytes) is shorter than a schema registry's frame ({FRAME_BYTES} bytes)")
    return int.from_bytes(value[1:FRAME_BYTES], "big")


class FramedJson:
    """Reads framed JSON. The schema is not looked up, because JSON can be parsed without it."""

    def read(self, value: bytes) -> Any:
        """Parses one value.

        Raises:
            FormatError: The value has no frame, or is not JSON.
        """
        schema_id(value)
        return parse_json(value[FRAME_BYTES:])
