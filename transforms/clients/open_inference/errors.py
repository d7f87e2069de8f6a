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

from transforms.clients.wire.status_codes import clean, from_grpc_code, from_http_status, speaks_http1, text_rule
from transforms.errors import ModelError, ModelFailedError, RejectedError, TransientError, UnavailableError

# What Python's own exceptions quote of a value that a model could not take: record contents, which must not be told on.
_QUOTED = re.compile(
    r"(could not convert string to (?:float|int|complex)|invalid literal for \w+\(\) with base \d+|not supported between).*",
    re.DOTALL,
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)
_EXCEPTION = re.compile(r"^ *([A-Za-z_][\w.]*(?:Error|Exception))\b", re.MULTILINE)

# The first that fits counts.
_REFUSED = "INVALID_ARGUMENT FAILED_PRECONDITION NOT_FOUND UNAVAILABLE 400 404 503"
_RULES = (
    speaks_http1("for the REST port use oip+http://"),
    # Triton: "… exceeds maximum queue size", "Request timeout expired" (while queued): it only has too much to do.
    text_rule(_REFUSED, r"(?i)exceeds maximum queue size|request timeout expired", TransientError),
    text_rule(
        _REFUSED, r"(?i)is not ready|not at ready state|has no available versions|model version not ready", UnavailableError
    ),
    text_rule("FAILED_PRECONDITION", "", RejectedError),  # MLServer's 422
    # About the values of this very request, although the status says "internal": Triton's HTTP front end (http_server.cc),
    # before any model sees it; MLServer's codecs, for text that is not UTF-8, and for a NaN, which it can't answer raw.
    text_rule(
        "INTERNAL UNKNOWN 500",
        r"(?i)unable to parse '|failed to parse the request json|unexpected additional input data"
        r"|codec can't decode byte|required argument is not a float",
        RejectedError,
    ),
    # Triton (infer_response, python_be.cc); MLServer's and KServe's answers to an exception that nobody caught: Starlette's
    # text, or the exception as "ValueError : …". (MLServer over gRPC has only the exception's own text: anybody's.)
    text_rule(
        "INTERNAL 500",
        r"Failed to process the request\(s\) for model|^(?i:internal server error)$|^\w+(Error|Exception) : ",
        ModelFailedError,
    ),
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
    return from_grpc_code(where, code, readable(text), retry_after_s, _RULES)


def from_http(where: str, status: int, body: bytes, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for an HTTP status other than 200. See ``from_http_status``."""
    return from_http_status(where, status, readable(error_text(body)), retry_after_s, _RULES)


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
