"""One example as the body of a request to multi-model-server or TorchServe, and the body of its answer as outputs.

Neither server says what a model takes: a handler gets, for each request, a dict of what came. A body that is no form is its
entry ``body``, and the parts of a multipart form are entries by their names. Before a handler sees them, multi-model-server
parses what comes as ``application/json`` and decodes what comes as ``text/…``; TorchServe the first.

| body | a record read as JSON | a record read as bytes |
|---|---|---|
| not asked for | the document, as ``application/json`` | the bytes, as ``application/octet-stream`` |
| ``json`` | the document | ``{"b64": …}`` |
| ``bytes`` | a text's characters, as ``application/octet-stream`` | the bytes, as ``application/octet-stream`` |
| ``multipart`` | an object: a part for each field; anything else: the part ``data`` | the part ``data`` |

So a record ``[1, 2]`` reaches the handler as the list, and ``{"x": [1, 2]}`` as the dict: nothing is wrapped or unwrapped.
Arrays by name (from a caller with names of its own) are sent as an object of one example's values.
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

JSON = "json"
BYTES = "bytes"
MULTIPART = "multipart"
BODIES = (JSON, BYTES, MULTIPART)

RAW_INPUT = "body"
"""The one input of a model that is sent bytes: the name under which a handler finds them."""

DATA_PART = "data"
"""The name of a multipart form's only part: what TorchServe's own handlers look for first."""

BYTES_TYPE = "application/octet-stream"
TEXT_TYPE = "text/plain"

_RAW_TYPES = (BYTES_TYPE, "image/", "audio/", "video/")


class Body(NamedTuple):
    """A request's body.

    Attributes:
        content: Its bytes.
        content_type: What they are.
    """

    content: bytes
    content_type: str


def request_body(inputs: Mapping[str, np.ndarray], body: str | None) -> Body:
    """Returns the body that carries the one example of ``inputs``.

    Args:
        inputs: Input name to an array of shape ``[1, …]``, or ``[]`` for a scalar. A sole input called ``instances`` holds
            whole documents, and ``{"b64": …}`` for bytes.
        body: ``json``, ``bytes``, ``multipart``, or ``None`` for what suits the example.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: It can't be sent as ``body`` asks.
    """
    example = _example(inputs, bare=body == BYTES)
    raw = _raw(example)
    if body == MULTIPART:
        return _multipart(example, raw)
    if body != JSON and raw is not None:
        return Body(raw, BYTES_TYPE)
    if body == BYTES:
        if isinstance(example, str):
            return Body(example.encode(), BYTES_TYPE)
        raise ValueError("body=bytes sends text or bytes; use --input_format=bytes, or another body")
    return Body(dumps(_jsonable(example)), JSON_TYPE)


def _example(inputs: Mapping[str, np.ndarray], bare: bool) -> Any:
    """The one row of all inputs as an object, or the value itself where it has no name of its own, or needs none."""
    row = {name: array[0] if array.ndim else array[()] for name, array in inputs.items()}
    if len(row) == 1 and (bare or INSTANCES in row):
        return next(iter(row.values()))
    return row


def _raw(value: Any) -> bytes | None:
    """The bytes that a value stands for, if it is nothing else."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except ValueError:
            return None  # a document, after all
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


def _multipart(example: Any, raw: bytes | None) -> Body:
    """A form; every part is a file, because the servers keep the content type of files only."""
    fields = example if isinstance(example, dict) and raw is None else {DATA_PART: example}
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
    """Returns an answer's outputs, each with the one row of the request.

    A handler's dict gives an output for each name; any other JSON value, text or bytes the output ``predictions``. Without
    a content type, which is how both servers send what is not told otherwise, a body counts as JSON if it is, else as text
    if it is UTF-8, else as bytes.

    Raises:
        MalformedAnswerError: It is empty, or no JSON though it says so.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not content:
        raise MalformedAnswerError("the answer is empty")
    if kind.startswith(_RAW_TYPES):
        return _one(PREDICTIONS, content)
    if not kind.startswith("text/"):
        try:
            return _outputs(loads(content))
        except ValueError as error:
            if kind:
                raise MalformedAnswerError(f"the answer is no JSON ({len(content)} bytes)") from error
    return _one(PREDICTIONS, content)


def _outputs(document: Any) -> Outputs:
    if not isinstance(document, dict) or _raw(document) is not None:
        return _one(PREDICTIONS, document)
    if not document:
        raise MalformedAnswerError("the answer has no outputs")
    return {name: [document[name]] for name in sorted(document)}


def _one(name: str, value: Any) -> Outputs:
    return {name: [value]}
