"""Which input records are images: raw, or as base64 in a field of a JSON record."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

MOST_BYTES = 1_000_000
"""A larger image is not shown."""

_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
"""What the first bytes say. No SVG: that is a program as well as an image."""

_BASE64 = re.compile(rb'"(?:data:image/[a-z]+;base64,)?((?:iVBORw0KGgo|\\?/9j\\?/|R0lGOD|UklGR)[A-Za-z0-9+/_\\=-]{20,})"')
"""A text in JSON that begins as a PNG, JPEG, GIF or WebP does. JSON may write ``/`` as ``\\/``."""


class Picture(NamedTuple):
    """An image that a browser can show.

    Attributes:
        content_type: Its type, by its first bytes.
        content: Its bytes.
    """

    content_type: str
    content: bytes


def picture(value: bytes | None) -> Picture | None:
    """Returns the image that a record's value is or holds; ``None`` if there is none, or it is too large."""
    if not value or len(value) > 2 * MOST_BYTES:
        return None
    if (found := _of_bytes(value)) is not None:
        return found
    if value.lstrip()[:1] not in (b"{", b"["):
        return None
    match = _BASE64.search(value)
    if match is None:
        return None
    text = match[1].replace(b"\\/", b"/").rstrip(b"=")
    try:
        return _of_bytes(
            base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_" if b"-" in text or b"_" in text else None)
        )
    except binascii.Error:
        return None


def _of_bytes(value: bytes) -> Picture | None:
    if len(value) > MOST_BYTES:
        return None
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return Picture("image/webp", value)
    return next((Picture(kind, value) for start, kind in _KINDS if value.startswith(start)), None)
