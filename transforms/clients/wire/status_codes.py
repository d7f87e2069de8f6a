"""Status codes of HTTP and gRPC to error classes: the table of all protocols.

A rule for all protocols is one line here: to retry on HTTP 423, add ``423: TransientError`` to ``HTTP_ERRORS``. Where the
error text of one protocol's servers contradicts their status code, the protocol passes a ``TextRule`` to the two functions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from transforms.answer_body import RAISE_LIMIT
from transforms.errors import (
    AnswerTooLargeError,
    BatchTooLargeError,
    CertificateError,
    MalformedAnswerError,
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)
from transforms.tls import ABOUT_TLS

_MOST_TEXT = 300
_MOST_DIGITS = 18  # of a number in a server's text: Python refuses to read thousands

# TensorFlow, TensorFlow Serving, its JSON reader and Python (in KServe's models) quote parts of the request in error texts.
# That is content of records, which no message may repeat.
_QUOTED = (
    (re.compile(r"JSON Value: .*?(?= Type: | is not | not formatted |$)", re.DOTALL), "JSON Value: (left out)"),
    (re.compile(r"(?i)\b(value|string)s?: (['\"]).*", re.DOTALL), r"\1: (left out)"),
    (re.compile(r"(?i)\b(could not convert string to \w+|invalid literal for [^:]*): .*", re.DOTALL), r"\1: (left out)"),
    (
        re.compile(r"(?i)(StringToNumberOp could not correctly convert string|could not parse example input).*", re.DOTALL),
        r"\1",
    ),
)


def clean(text: str) -> str:
    """Returns a server's error text as one printable line of at most 300 characters, without quotes from the request."""
    for pattern, replacement in _QUOTED:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


GRPC_ERRORS: dict[str, type[ModelError]] = {
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": OverloadedError,
    "DEADLINE_EXCEEDED": OverloadedError,
    "ABORTED": TransientError,
    "ALREADY_EXISTS": TransientError,  # over REST it can't be told from ABORTED: both are 409
    "CANCELLED": TransientError,
    "DATA_LOSS": TransientError,
    "INTERNAL": TransientError,  # a fault of the server; errors of a model's graph are INVALID_ARGUMENT
    "UNKNOWN": TransientError,
    "INVALID_ARGUMENT": RejectedError,
    "OUT_OF_RANGE": RejectedError,
    "FAILED_PRECONDITION": RejectedError,  # over REST it can't be told from INVALID_ARGUMENT: both are 400
}
"""gRPC status code to error class. Any other code is ``NotServedError``. Each code means what its HTTP status means."""

HTTP_ERRORS: dict[int, type[ModelError]] = {
    400: RejectedError,
    408: OverloadedError,
    409: TransientError,
    413: RequestTooLargeError,
    422: RejectedError,
    425: OverloadedError,
    429: OverloadedError,
    499: TransientError,
    501: NotServedError,
    502: UnavailableError,  # a gateway without a backend
    503: UnavailableError,  # TensorFlow Serving's UNAVAILABLE, or a gateway without a backend
    504: OverloadedError,
}
"""HTTP status to error class. Any other status is ``TransientError`` from 500 on, and ``NotServedError`` below."""

DENIED = (401, 403)
"""The HTTP statuses that refuse who asks, and say nothing of what was asked for."""

UNIMPLEMENTED = ("UNIMPLEMENTED", 405, 501)
"""The codes of a server that has no such call."""


_NOT_RUN: dict[type[ModelError], frozenset[str | int]] = {
    OverloadedError: frozenset(
        (429, 502, 503, "RESOURCE_EXHAUSTED", "UNAVAILABLE")
    ),  # 502 where a rule says of a full queue
    UnavailableError: frozenset((503,)),  # 502: of a gateway, whose backend may have been at work
    CertificateError: frozenset(("UNAVAILABLE",)),
}
"""The codes of requests that no model has worked on for certain."""

_NOT_CONNECTED = re.compile(r"(?i)failed to connect|connection refused|(DNS|name) resolution failed")
"""gRPC's own words on our side; UNAVAILABLE may also be of a connection that was cut while a model worked."""


def http_error(status: int) -> type[ModelError]:
    """Returns the error class of an HTTP status, by the table alone."""
    return HTTP_ERRORS.get(status, TransientError if status >= 500 else NotServedError)


def error_of_status(status: int, message: str, retry_after_s: float | None = None) -> ModelError:
    """Returns the error of an HTTP status, by the table alone.

    Args:
        status: The status.
        message: The whole message.
        retry_after_s: The wait that the answer asks for in seconds; ``None`` if it asks for none.
    """
    return marked(_new(http_error(status), message, "", retry_after_s), status)


@dataclasses.dataclass(frozen=True, slots=True)
class TextRule:
    """An error text that contradicts the status code. The rule overrides the table.

    Attributes:
        codes: The gRPC codes and HTTP statuses that the rule applies to.
        pattern: Searched in the error text. Its groups give the number of rows of a ``BatchTooLargeError``.
        error: The error class.
        cure: Added to the message: what the user can do.
        message: Replaces the server's text in the message, if that text is misleading.
    """

    codes: frozenset[str | int]
    pattern: re.Pattern[str]
    error: type[ModelError]
    cure: str = ""
    message: str = ""


def text_rule(codes: str, pattern: str, error: type[ModelError], cure: str = "", message: str = "") -> TextRule:
    """Returns a ``TextRule``.

    Args:
        codes: The codes, separated by spaces, such as ``"INVALID_ARGUMENT 400"``.
        pattern: A regular expression.
        error: As ``TextRule.error``.
        cure: As ``TextRule.cure``.
        message: As ``TextRule.message``.
    """
    parsed = frozenset(int(code) if code.isdecimal() else code for code in codes.split())
    return TextRule(parsed, re.compile(pattern), error, cure, message)


def speaks_http1(cure: str) -> TextRule:
    """Returns the rule for gRPC's error "Trying to connect an http1.x server": the port is the REST port.

    Args:
        cure: What the user can do.
    """
    message = f"it speaks HTTP/1, not gRPC; {cure}"
    return text_rule("UNAVAILABLE", "http1", NotServedError, message=message)


class SpeaksHttp2Error(MalformedAnswerError):
    """An HTTP/1 request was answered in HTTP/2: the port is that of gRPC."""


_SIZES = (
    re.compile(r"(?i)larger than max\w* \((?P<size>\d+) vs\.? (?P<limit>\d+)\)"),  # gRPC's C core, and Go
    re.compile(r"(?i)exceeds maximum size (?P<limit>\d+): (?P<size>\d+)"),  # gRPC in Java
    re.compile(r"(?i)size (?P<limit>\d+) exceeded, actual body size (?P<size>\d+)"),  # aiohttp
    re.compile(r"(?i)requested (?P<size>\d+) tokens, max (?P<limit>\d+) tokens per request"),  # OpenAI, of embeddings
)
"""How servers say the size of a request and the limit that it exceeds."""


def _share_taken(text: str) -> float | None:
    found = next((matched for pattern in _SIZES if (matched := pattern.search(text))), None)
    if found is None or max(len(found["limit"]), len(found["size"])) > _MOST_DIGITS:
        return None
    if not 0 < int(found["limit"]) < int(found["size"]):
        return None
    return int(found["limit"]) / int(found["size"])


COMMON_RULES = (
    # Of gRPC on our side: the handshake failed.
    text_rule("UNAVAILABLE", ABOUT_TLS, CertificateError),
    # basic_batch_scheduler.h: the server is up, but overloaded.
    text_rule("UNAVAILABLE 502 503", r"(?i)queue to which this task was submitted is full", OverloadedError),
    # gRPC's own words on our side, of an answer: the grpc.max_receive_message_length of wire/grpc.py.
    text_rule(
        "RESOURCE_EXHAUSTED",
        r"(?i)CLIENT: Received message larger than max|^Decompressed message larger than max",
        AnswerTooLargeError,
        cure=RAISE_LIMIT,
    ),
    # "Received message larger than max (…)", "CLIENT: Sent message larger than max": a retry would fail the same way.
    text_rule(
        "RESOURCE_EXHAUSTED",
        r"(?i)message (?:larger than max|exceeds maximum size)",
        RequestTooLargeError,
    ),
    # basic_batch_scheduler.h of TensorFlow Serving; infer_request.cc of Triton.
    text_rule(
        "INVALID_ARGUMENT 400",
        r"(?i)larger than (?:the )?maximum (?:input )?batch[- ]size(?: (?P<most>\d+))?"
        r"|batch[- ]size must be <= ?(?P<rows>\d+)",
        BatchTooLargeError,
    ),
    # gRPC servers in Python answer with the text of the method's exception.
    text_rule("UNKNOWN", r"^Exception (calling application|iterating responses)", ModelFailedError),
    # Servers in Python (KServe's generic_exception_handler) answer with the name and text of the model's exception.
    text_rule("500", r"^[A-Za-z_]\w* : ", ModelFailedError),
)
"""Rules of every protocol."""


def from_grpc_code(
    where: str, code: str, text: str, retry_after_s: float | None = None, rules: Sequence[TextRule] = ()
) -> ModelError:
    """Returns the error for a gRPC status.

    Args:
        where: The model and its address, for the message.
        code: The status code's name.
        text: The server's details.
        retry_after_s: The wait that the server asks for in seconds; ``None`` if it asks for none.
        rules: The protocol's rules, which are tried first.
    """
    said = clean(text)
    message = f"{where}: {code}: {said or 'no details'}"
    error = _error(where, code, text, message, retry_after_s, rules)
    error = error or _new(GRPC_ERRORS.get(code, NotServedError), message, text, retry_after_s)
    error.said = said
    return marked(error, code, text)


def from_http_status(
    where: str, status: int, text: str, retry_after_s: float | None = None, rules: Sequence[TextRule] = ()
) -> ModelError:
    """Returns the error for an HTTP status other than 200.

    Args:
        where: The model and its address, for the message.
        status: The HTTP status.
        text: The server's error text, empty if there was none.
        retry_after_s: The wait that the server asks for in seconds; ``None`` if it asks for none.
        rules: The protocol's rules, which are tried first.
    """
    said = clean(text)
    message = f"{where}: HTTP {status}: {said or 'no error text'}"
    error = _error(where, status, text, message, retry_after_s, rules)
    error = error or _new(http_error(status), message, text, retry_after_s)
    error.said = said
    return marked(error, status)


def marked(error: ModelError, code: str | int, text: str = "") -> ModelError:
    """Returns the error with what its code says of more than its class.

    Args:
        error: The error.
        code: The gRPC code or HTTP status.
        text: The server's text, or gRPC's.
    """
    if isinstance(error, TransientError):
        not_connected = code == "UNAVAILABLE" and _NOT_CONNECTED.search(text) is not None
        error.not_run = not_connected or code in _NOT_RUN.get(type(error), ())
    if isinstance(error, NotServedError) and code in UNIMPLEMENTED:
        error.unimplemented = True
    return error


def _error(
    where: str, code: str | int, text: str, message: str, retry_after_s: float | None, rules: Sequence[TextRule]
) -> ModelError | None:
    for rule in (*rules, *COMMON_RULES):
        if code in rule.codes and (matched := rule.pattern.search(text)):
            said = f"{where}: {rule.message}" if rule.message else f"{message}; {rule.cure}" if rule.cure else message
            if rule.error is BatchTooLargeError:
                limits = [int(value) for value in matched.groupdict().values() if value and len(value) <= _MOST_DIGITS]
                return BatchTooLargeError(said, limits[0] if limits else None)
            return _new(rule.error, said, text, retry_after_s)
    return None


def _new(kind: type[ModelError], message: str, text: str, retry_after_s: float | None) -> ModelError:
    if issubclass(kind, RequestTooLargeError):
        return kind(message, _share_taken(text))
    return kind(message, retry_after_s) if issubclass(kind, TransientError) else kind(message)
