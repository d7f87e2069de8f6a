"""Which records are images, and that nothing else is taken for one."""

from __future__ import annotations

import base64
import json

import pytest

from pipeline.embedded.generator import grey_png
from pipeline.reporting.page.pictures import MOST_BYTES, picture

PNG = grey_png(8, 8)


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0 and so on", "image/jpeg"),
        (b"GIF89a and so on", "image/gif"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(value: bytes, content_type: str) -> None:
    assert picture(value) == (content_type, value)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PNG).decode(),
        base64.urlsafe_b64encode(PNG).decode(),
        base64.b64encode(PNG).decode().rstrip("="),
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
    ],
)
def test_an_image_as_base64_in_a_field(text: str) -> None:
    found = picture(json.dumps({"id": 1, "image": text}).encode())
    assert found == ("image/png", PNG)


def test_json_may_write_a_slash_with_a_backslash() -> None:
    jpeg = b"\xff\xd8\xff" + bytes(range(256))
    value = json.dumps([base64.b64encode(jpeg).decode()]).replace("/", "\\/").encode()
    assert picture(value) == ("image/jpeg", jpeg)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"7",
        b'{"amount": 3.5}',
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html>",
        b'{"image": "iVBORw0KGgo"}',
        b'{"image": "iVBORw0KGgo!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"}',
        b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES),
    ],
)
def test_what_is_none(value: bytes | None) -> None:
    assert picture(value) is None
