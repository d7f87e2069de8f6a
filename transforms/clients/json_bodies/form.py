"""``Form``: what the body of a request is: JSON by the template, the bytes of the record, or a form with a file."""

from __future__ import annotations

import dataclasses

from transforms.clients.json_bodies.csv_rows import CSV, CSV_TYPE
from transforms.clients.wire.http import JSON_TYPE
from transforms.clients.wire.row_body import BYTES, BYTES_TYPE, DATA_PART, MULTIPART


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """The form of a request.

    Attributes:
        body: ``csv``, ``bytes`` or ``multipart``; ``None`` for JSON.
        part: The name of the part in a multipart form.
        content_type: The content type of requests that are no multipart form.
    """

    body: str | None = None
    part: str = DATA_PART
    content_type: str = JSON_TYPE


_TYPES: dict[str | None, str] = {BYTES: BYTES_TYPE, CSV: CSV_TYPE}

JSON_FORM = Form()
"""JSON by the template."""


def form_of(body: str | None, part: str | None, content_type: str | None) -> Form:
    """Returns the form that the parameters of a URI ask for; ``None`` for one that is not given.

    Raises:
        ValueError: They can't be used; the message says why and what to do.
    """
    if part is not None and body != MULTIPART:
        raise ValueError(f"part names the part of a form: it is for {MULTIPART}")
    if content_type is not None and body == MULTIPART:
        raise ValueError("a multipart form has a content type of its own: leave content_type out")
    content_type = content_type or _TYPES.get(body, JSON_TYPE)
    if not content_type.isprintable() or not content_type.isascii():
        raise ValueError("content_type has characters that no header has")
    return Form(body, part or DATA_PART, content_type)
