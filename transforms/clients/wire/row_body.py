"""Bodies of requests that carry one row, as multi-model-server and TorchServe take them, and their answers.

The servers do not publish what a model takes. For each request, the model's handler gets a dict. A multipart form gives one
entry per part, under the part's name; any other body is the entry ``body``. Both servers parse a body of type
``application/json`` first; multi-model-server also decodes one of type ``text/…``.

| ``body`` parameter | a record read as JSON is sent as | a record read as bytes is sent as |
|---|---|---|
| none | the document, ``application/json`` | the bytes, ``application/octet-stream`` |
| ``json`` | the document, ``application/json`` | ``{"b64": …}``, ``application/json`` |
| ``bytes`` | a text in UTF-8, ``application/octet-stream``; nothing else | the bytes, ``application/octet-stream`` |
| ``multipart`` | one part per field of an object; anything else is the part ``data`` | the part ``data`` |

Documents are never wrapped: the handler gets the record ``[1, 2]`` as a list, and ``{"x": [1, 2]}`` as a dict. Inputs with
names other than ``instances`` are sent as one JSON object with the row's value of each input.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from transforms.clients.wire.http import JSON_TYPE
from transforms.clients.wire.json import dumps, loads
from transforms.clients.wire.json_outputs import INSTANCES, PREDICTIONS
from transforms.clients.wire.outputs import Outputs
from transforms.errors import MalformedAnswerError
from transforms.printable import counted

JSON = "json"
BYTES = "bytes"
MULTIPART = "multipart"
BODIES = (JSON, BYTES, MULTIPART)

RAW_INPUT = "body"
"""The input of a model with ``body=bytes``, and the entry under which its handler finds the bytes."""

DATA_PART = "data"
"""The name of the part in a multipart form of one part. TorchServe's own handlers look for this name first."""

BYTES_TYPE = "application/octet-stream"
TEXT_TYPE = "text/plain"

_RAW_TYPES = (BYTES_TYPE, "image/", "audio/", "video/")


class Body(NamedTuple):
    """A request's body.

    Attributes:
        content: The bytes.
        content_type: The ``Content-Type`` header.
    """

    content: bytes
    content_type: str


def request_body(inputs: Mapping[str, np.ndarray], body: str | None, part: str = DATA_PART) -> Body:
    """Returns the body of a request with one row.

    Args:
        inputs: Input name to an array of shape ``[1, …]``, or ``[]`` for a scalar. A sole input called ``instances`` holds a
            whole document, or ``{"b64": …}`` for bytes.
        body: ``json``, ``bytes`` or ``multipart``; with ``None``, the value decides (see the table above).
        part: The name of the part of a form that has one part.

    Raises:
        TypeError: A value has no JSON form.
        ValueError: The value can't be sent in the form that ``body`` names.
    """
    example = _example(inputs, bare=body == BYTES)
    raw = _raw(example)
    if body == MULTIPART:
        return _multipart(example, raw, part)
    if body != JSON and raw is not None:
        return Body(raw, BYTES_TYPE)
    if body == BYTES:
        if isinstance(example, str):
            return Body(example.encode(), BYTES_TYPE)
        raise ValueError("body=bytes sends text or bytes; use --input_format=bytes, or another body")
    return Body(dumps(_jsonable(example)), JSON_TYPE)


def _example(inputs: Mapping[str, np.ndarray], bare: bool) -> Any:
    """The row's values by input name, or the sole value alone if it is a whole document or ``bare`` is set."""
    row = {name: array[0] if array.ndim else array[()] for name, array in inputs.items()}
    if len(row) == 1 and (bare or INSTANCES in row):
        return next(iter(row.values()))
    return row


def _raw(value: Any) -> bytes | None:
    """The bytes of a value that is ``bytes`` or ``{"b64": …}``; ``None`` for any other value."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except ValueError:
            return None  # not base64: an ordinary document
    return None


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic):
        return _jsonable(value.tolist())
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return value


def _multipart(example: Any, raw: bytes | None, part: str) -> Body:
    """A multipart form. Every part has a file name, because the servers keep the content type of files only."""
    fields = example if isinstance(example, dict) and raw is None else {part: example}
    if not fields:
        raise ValueError("an object without fields makes no multipart form")
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        content, content_type = _part(value)
        quoted = str(name).translate({ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"})
        disposition = f'form-data; name="{quoted}"; filename="{quoted}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
        parts += [head.encode(), content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return Body(b"".join(parts), f"multipart/form-data; boundary={boundary}")


def _part(value: Any) -> Body:
    raw = _raw(value)
    if raw is not None:
        return Body(raw, BYTES_TYPE)
    return Body(value.encode(), TEXT_TYPE) if isinstance(value, str) else Body(dumps(_jsonable(value)), JSON_TYPE)


def read_answer(content: bytes, content_type: str) -> Outputs:
    """Returns the outputs of an answer; each has one row.

    A JSON object gives one output per name. Any other JSON value, text or bytes is the output ``predictions``. Both servers
    leave the content type out unless the handler sets one; such a body is read as JSON if it parses, otherwise it is kept as
    bytes.

    Args:
        content: The body.
        content_type: The ``Content-Type`` header; empty if there was none.

    Raises:
        MalformedAnswerError: The body is empty, or is not JSON although its content type says so.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not content:
        raise MalformedAnswerError("the answer is empty")
    if kind.startswith(_RAW_TYPES):
        return _one(PREDICTIONS, content)
    if not kind.startswith("text/"):
        try:
            return _outputs(loads(content, exact=True))
        except ValueError as error:
            if kind:
                raise MalformedAnswerError(f"the answer is no JSON ({counted(len(content), 'byte')})") from error
    return _one(PREDICTIONS, content)


def _outputs(document: Any) -> Outputs:
    if not isinstance(document, dict) or _raw(document) is not None:
        return _one(PREDICTIONS, document)
    if not document:
        raise MalformedAnswerError("the answer has no outputs")
    return {name: [document[name]] for name in sorted(document)}


def _one(name: str, value: Any) -> Outputs:
    return {name: [value]}
