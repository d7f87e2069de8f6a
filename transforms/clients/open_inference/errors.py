"""Failures of Open Inference Protocol servers, by status and text, to this project's errors.

The protocol leaves statuses to the servers, and they do not always tell the truth (seen with MLServer 1.7.1, Triton 2.51
and KServe 0.21):

* INTERNAL and 500 are whatever went wrong in the model's own code: a row it can't take, or no memory left. Nothing tells the
  two apart, and refusing records because a server is ill would lose them: they are transient (``ModelFailedError`` where the
  text says that it was the model). The caller finds guilty rows after its deadline, by a probe (``predict/dispatch.py``).
* Triton answers 500 for a request that it can't parse, MLServer INTERNAL for values that its codecs can't take: refused, for
  the text says so.
* MLServer answers 400 and INVALID_ARGUMENT while a model is not ready, Triton NOT_FOUND: not available yet.
* MLServer's 422 is FAILED_PRECONDITION over gRPC: refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from transforms.clients.wire.status_codes import clean, from_grpc_code, from_http_status
from transforms.errors import ModelError, ModelFailedError, NotServedError, RejectedError, TransientError, UnavailableError

# What Python's own exceptions quote of a value that a model could not take: record contents, which must not be told on.
_QUOTED = re.compile(
    r"(could not convert string to (?:float|int|complex)|invalid literal for \w+\(\) with base \d+|not supported between).*",
    re.DOTALL,
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)
_EXCEPTION = re.compile(r"^ *([A-Za-z_][\w.]*(?:Error|Exception))\b", re.MULTILINE)

# Triton: "… exceeds maximum queue size", "Request timeout expired" (while queued): it is there, it only has too much to do.
_OVERLOADED = re.compile(r"(?i)exceeds maximum queue size|request timeout expired")
_NOT_READY = re.compile(r"(?i)is not ready|not at ready state|has no available versions|model version not ready")
# About the values of this very request, although the status says "internal": Triton's HTTP front end (http_server.cc),
# before any model sees it; MLServer's codecs, for text that is not UTF-8, and for a NaN, which it can't answer raw.
_UNREADABLE = re.compile(
    r"(?i)unable to parse '|failed to parse the request json|unexpected additional input data"
    r"|codec can't decode byte|required argument is not a float"
)

# Triton (infer_response, python_be.cc); MLServer's and KServe's answers to an exception that nobody caught: Starlette's
# text, or the exception as "ValueError : …". (MLServer over gRPC has only the exception's own text: it could be anybody's.)
_MODEL_FAILED = re.compile(
    r"Failed to process the request\(s\) for model|^(?i:internal server error)$|^\w+(Error|Exception) : "
)


def readable(text: str) -> str:
    """Returns a server's error text as one line: of a traceback its exception's name, nothing that could be of a record."""
    matched = _TRACEBACK.search(text)
    if matched:
        named = _EXCEPTION.findall(matched[0])
        text = f"{text[: matched.start()]}{named[-1] if named else 'an exception'} (its message is in the server's log)"
    return clean(_QUOTED.sub(r"\1 (left out)", text))


def from_grpc(where: str, code: str, text: str, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for a gRPC status. See ``from_grpc_code``."""
    if code == "UNAVAILABLE" and "http1" in text:  # gRPC's own finding, "Trying to connect an http1.x server"
        return NotServedError(f"{where}: it speaks HTTP/1, not gRPC; for the REST port use oip+http://")
    text = readable(text)
    message = f"{where}: {code}: {text}"
    refused = code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "UNAVAILABLE")
    if refused and _OVERLOADED.search(text):
        return TransientError(message, retry_after_s)
    if refused and _NOT_READY.search(text):
        return UnavailableError(message, retry_after_s)
    if code == "FAILED_PRECONDITION" or (code in ("INTERNAL", "UNKNOWN") and _UNREADABLE.search(text)):
        return RejectedError(message)
    if code == "INTERNAL" and _MODEL_FAILED.search(text):
        return ModelFailedError(message, retry_after_s)
    return from_grpc_code(where, code, text, retry_after_s)


def from_http(where: str, status: int, body: bytes, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for an HTTP status other than 200. See ``from_http_status``."""
    text = readable(error_text(body))
    message = f"{where}: HTTP {status}: {text}"
    if status in (400, 404, 503) and _OVERLOADED.search(text):
        return TransientError(message, retry_after_s)
    if status in (400, 404, 503) and _NOT_READY.search(text):
        return UnavailableError(message, retry_after_s)
    if status == 500 and _UNREADABLE.search(text):
        return RejectedError(message)
    if status == 500 and _MODEL_FAILED.search(text):
        return ModelFailedError(message, retry_after_s)
    return from_http_status(where, status, text, retry_after_s)


def error_text(body: bytes) -> str:
    """Returns the text of an error's body.

    ``{"error": …}`` is the protocol's, ``{"detail": …}`` FastAPI's: text, or what failed validation, with a place and a
    message each and also the *input*, which is left out. Anything else is text as it is.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body[:1000].decode("utf-8", "replace")
    if not isinstance(document, dict):
        return str(document) if isinstance(document, str) else ""
    for key in ("error", "detail", "message"):
        if document.get(key):
            return _told(document[key])
    return ""


def _told(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(filter(None, map(_told, value)))
    if isinstance(value, dict):
        place = value.get("loc")
        said = str(value.get("msg") or value.get("message") or "")
        return f"{'.'.join(map(str, place))}: {said}" if isinstance(place, list) and said else said
    return str(value)
