"""How much one record may cost: the memory that its value may take once it is decompressed and decoded.

A few bytes can announce, or compress, any amount. So the readers of such formats count before they allocate.
"""

from __future__ import annotations

MAX_RECORD_BYTES = 64 << 20
"""The most memory in bytes that a decoded value may take, unless ``--max_record_bytes`` says otherwise: 64 MB."""

NUMBER_BYTES = 32
"""What a number in a list is taken to cost in CPython."""

VALUE_BYTES = 64
"""The bytes of overhead that a string, or a short list or object, is taken to have in CPython."""


def too_large(what: str, max_bytes: int) -> str:
    """Says in a dead letter's message that ``what`` goes beyond the limit."""
    return f"can't be read: {what} would take more than {max_bytes} bytes of memory (--max_record_bytes)"
