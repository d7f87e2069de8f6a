"""TensorFlow Serving's failures, by status code and text, to this project's errors: the rules both protocols share."""

from __future__ import annotations

import re

from transforms.errors import (
    ModelError,
    ModelFailedError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)

_MOST_TEXT = 300

# What TensorFlow, TensorFlow Serving, its JSON reader and Python (in KServe's models) quote of a request: record contents,
# which must not be told on.
_QUOTED = (
    (re.compile(r"JSON Value: .*?(?= Type: | is not | not formatted |$)", re.DOTALL), "JSON Value: (left out)"),
    (re.compile(r"(?i)\b(value|string)s?: (['\"]).*", re.DOTALL), r"\1: (left out)"),
    (re.compile(r"(?i)\b(could not convert string to \w+|invalid literal for [^:]*): .*", re.DOTALL), r"\1: (left out)"),
    (
        re.compile(r"(?i)(StringToNumberOp could not correctly convert string|could not parse example input).*", re.DOTALL),
        r"\1",
    ),
)

# A signature or label which is not there is INVALID_ARGUMENT in some calls (predict_util.cc, classifier.cc,
# server_core.cc): nothing that leaving records out of the batch would cure.
_NOT_SERVED = re.compile(
    r"(?i)serving signature|no signature was found with the name|unrecognized servable version label"
    r"|expected (classification|regression) signature|expected (classify|regress) signature"
)
# basic_batch_scheduler.h: the server is there, it only has too much to do.
_QUEUE_FULL = re.compile(r"(?i)queue to which this task was submitted is full")
# "Received message larger than max (…)", "CLIENT: Sent message larger than max": the same message never gets through.
_TOO_LARGE = re.compile(r"(?i)message larger than max")

# KServe's generic_exception_handler: the name of what the model raised, and its text. The server is there.
_MODEL_RAISED = re.compile(r"[A-Za-z_]\w* : ")

_TRANSIENT = {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNKNOWN", "CANCELLED", "DATA_LOSS"}
_REJECTED = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "ALREADY_EXISTS"}


def clean(text: str) -> str:
    """Returns a server's error text as one short printable line, without what it quotes of the request."""
    for pattern, replacement in _QUOTED:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


def from_grpc_code(where: str, code: str, text: str, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for a gRPC status.

    INTERNAL counts as transient: errors of a model's graph come as INVALID_ARGUMENT, INTERNAL from the server's own trouble.

    Args:
        where: The model and its address, for the message.
        code: The status code's name.
        text: The server's details.
        retry_after_s: How long the server asked to wait, if it did.
    """
    message = f"{where}: {code}: {clean(text) or 'no details'}"
    if code == "UNAVAILABLE" and "http1" in text:  # gRPC's own finding, "Trying to connect an http1.x server"
        return NotServedError(f"{where}: it speaks HTTP/1, not gRPC; for TensorFlow Serving's REST port use http://")
    if code == "UNAVAILABLE":
        return (TransientError if _QUEUE_FULL.search(text) else UnavailableError)(message, retry_after_s)
    if code == "RESOURCE_EXHAUSTED" and _TOO_LARGE.search(text):
        return RejectedError(f"{message}; lower --batch_max_size")
    if code in _TRANSIENT:
        return TransientError(message, retry_after_s)
    if code in _REJECTED and not _NOT_SERVED.search(text):
        return RejectedError(message)
    return NotServedError(message)  # also FAILED_PRECONDITION: how Predict refuses a signature it has not


def from_http_status(where: str, status: int, text: str, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for an HTTP status other than 200.

    502 and 503 mean that nobody answers behind the address (TensorFlow Serving's UNAVAILABLE, or a gateway without a
    backend), unless the server says its queue is full.

    Args:
        where: The model and its address, for the message.
        status: The HTTP status.
        text: The server's error text, empty if there was none.
        retry_after_s: How long the server asked to wait, if it did.
    """
    message = f"{where}: HTTP {status}: {clean(text) or 'no error text'}"
    if status in (502, 503) and not _QUEUE_FULL.search(text):
        return UnavailableError(message, retry_after_s)
    if status == 500 and _MODEL_RAISED.match(text):
        return ModelFailedError(message, retry_after_s)
    if status == 501:
        return NotServedError(message)
    if status in (408, 425, 429, 499) or status >= 500:
        return TransientError(message, retry_after_s)
    if status in (400, 413, 422) and not _NOT_SERVED.search(text):
        return RejectedError(message)
    return NotServedError(message)
