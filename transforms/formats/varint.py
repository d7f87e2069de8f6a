"""Avro's whole numbers: zigzag varints, as Protobuf's ``sint64``."""

from __future__ import annotations


class MalformedError(ValueError):
    """A value is not what it has to be. The message says why, and never holds bytes of the value."""


def zigzag(value: bytes, at: int) -> tuple[int, int]:
    """Reads the number at ``at``; returns it, and where it ends.

    Raises:
        MalformedError: The value is cut short, or the number has more than 64 bits.
    """
    try:
        byte = value[at]
        at += 1
        if byte < 0x80:
            return (byte >> 1) ^ -(byte & 1), at
        number, shift = byte & 0x7F, 7
        while shift < 70:
            byte = value[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1), at
            shift += 7
    except IndexError:
        raise MalformedError("it is cut short") from None
    raise MalformedError("a number has more than 64 bits")
