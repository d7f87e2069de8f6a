"""What is added to the message of a refused row: the flag that mends it, where the row shows it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ModelFailedError, RejectedError
from transforms.predict.cures import cure_of
from transforms.predict.spans import Span

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40))
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40))


def row(value: Any) -> dict[str, np.ndarray]:
    array = np.empty(1, object)
    array[0] = value
    return {"image": array}


@pytest.mark.parametrize("value", [PNG, JPEG, b"data:image/webp;base64," + PNG, {"image": PNG.decode()}])
def test_an_image_as_text(value: Any) -> None:
    assert cure_of(row(value)).startswith("; 'image' is an image as base64 text: --features='image=$.FIELD|base64'")


def test_a_json_object_as_text() -> None:
    assert cure_of(row(b' {"image": "iVBO"}')).startswith("; 'image' is a JSON object as text: --features=image=$.FIELD")


@pytest.mark.parametrize("value", [b"\x89PNG\r\n\x1a\n", b"/9j/", b"{braces}", b"", {"b64": "eA=="}, 3, None, "\ud800" * 40])
def test_what_shows_nothing(value: Any) -> None:
    assert cure_of(row(value)) == ""
    assert cure_of({"x": np.zeros((1, 2)), "y": np.empty((0,), object)}) == ""


def test_it_is_told_of_one_row_that_is_refused() -> None:
    span = Span.of(row(PNG), 1)
    for error, kind in ((RejectedError("Unknown image file format"), "Rejected"), (ModelFailedError("500"), "ServerError")):
        failure = span.blamed(error).failure
        assert failure is not None
        assert failure.error_class == kind
        assert failure.message.startswith(str(error))
        assert "|base64" in failure.message
    waits = span.failed(DeadLetterClass.UNAVAILABLE, RejectedError("down")).failure
    assert waits is not None
    assert waits.message == "down"


def test_the_value_is_not_repeated() -> None:
    assert PNG.decode()[:8] not in cure_of(row(PNG))
