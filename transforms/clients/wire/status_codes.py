"""Status code to error class, for HTTP and gRPC: the one table of all protocols.

A rule that holds for all of them is a line here: to retry on HTTP 423, ``423: TransientError`` in ``HTTP_ERRORS``. A text by
which one protocol's servers contradict their code is a ``TextRule`` of that protocol, passed to the two functions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

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


def clean(text: str) -> str:
    """Returns a server's error text as one short printable line, without what it quotes of the request."""
    for pattern, replacement in _QUOTED:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"


GRPC_ERRORS: dict[str, type[ModelError]] = {
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": TransientError,
    "DEADLINE_EXCEEDED": TransientError,
    "ABORTED": TransientError,
    "CANCELLED": TransientError,
    "DATA_LOSS": TransientError,
    "INTERNAL": TransientError,  # the server's own trouble; errors of a model's graph are INVALID_ARGUMENT
    "UNKNOWN": TransientError,
    "INVALID_ARGUMENT": RejectedError,
    "OUT_OF_RANGE": RejectedError,
    "ALREADY_EXISTS": RejectedError,
}
"""gRPC status code to error; any other is ``NotServedError``, FAILED_PRECONDITION among them."""

HTTP_ERRORS: dict[int, type[ModelError]] = {
    400: RejectedError,
    408: TransientError,
    413: RejectedError,
    422: RejectedError,
    425: TransientError,
    429: TransientError,
    499: TransientError,
    501: NotServedError,
    502: UnavailableError,  # a gateway without a backend
    503: UnavailableError,  # TensorFlow Serving's UNAVAILABLE, or a gateway without a backend
}
"""HTTP status to error; of the others, one from 500 up is ``TransientError``, and any other ``NotServedError``."""


def http_error(status: int) -> type[ModelError]:
    """Returns the error class of an HTTP status, by the table alone."""
    return HTTP_ERRORS.get(status, TransientError if status >= 500 else NotServedError)


@dataclasses.dataclass(frozen=True, slots=True)
class TextRule:
    """A text by which a server says something else than its status code; it wins over the table.

    Attributes:
        codes: The gRPC codes and HTTP statuses that it corrects.
        pattern: What the text holds.
        error: What the failure is.
        cure: What is added to the message.
        message: The whole message instead of the server's text, if that misleads.
    """

    codes: frozenset[str | int]
    pattern: re.Pattern[str]
    error: type[ModelError]
    cure: str = ""
    message: str = ""


def text_rule(codes: str, pattern: str, error: type[ModelError], cure: str = "", message: str = "") -> TextRule:
    """Makes a rule of codes in one string, such as ``"INVALID_ARGUMENT 400"``, and the source of its pattern."""
    parsed = frozenset(int(code) if code.isdecimal() else code for code in codes.split())
    return TextRule(parsed, re.compile(pattern), error, cure, message)


def speaks_http1(cure: str) -> TextRule:
    """The rule for gRPC's own finding, "Trying to connect an http1.x server": the port is the REST one."""
    message = f"it speaks HTTP/1, not gRPC; {cure}"
    return text_rule("UNAVAILABLE", "http1", NotServedError, message=message)


COMMON_RULES = (
    # basic_batch_scheduler.h: the server is there, it only has too much to do.
    text_rule("UNAVAILABLE 502 503", r"(?i)queue to which this task was submitted is full", TransientError),
    # "Received message larger than max (…)", "CLIENT: Sent message larger than max": the same message never gets through.
    text_rule("RESOURCE_EXHAUSTED", r"(?i)message larger than max", RejectedError, cure="lower --batch_max_size"),
    # Servers in Python (KServe's generic_exception_handler): the name of what the model raised, and its text.
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
        retry_after_s: How long the server asked to wait, if it did.
        rules: The protocol's own, which win.
    """
    message = f"{where}: {code}: {clean(text) or 'no details'}"
    return _error(where, code, text, message, retry_after_s, rules) or _new(
        GRPC_ERRORS.get(code, NotServedError), message, retry_after_s
    )


def from_http_status(
    where: str, status: int, text: str, retry_after_s: float | None = None, rules: Sequence[TextRule] = ()
) -> ModelError:
    """Returns the error for an HTTP status other than 200.

    Args:
        where: The model and its address, for the message.
        status: The HTTP status.
        text: The server's error text, empty if there was none.
        retry_after_s: How long the server asked to wait, if it did.
        rules: The protocol's own, which win.
    """
    message = f"{where}: HTTP {status}: {clean(text) or 'no error text'}"
    return _error(where, status, text, message, retry_after_s, rules) or _new(http_error(status), message, retry_after_s)


def _error(
    where: str, code: str | int, text: str, message: str, retry_after_s: float | None, rules: Sequence[TextRule]
) -> ModelError | None:
    for rule in (*rules, *COMMON_RULES):
        if code in rule.codes and rule.pattern.search(text):
            said = f"{where}: {rule.message}" if rule.message else f"{message}; {rule.cure}" if rule.cure else message
            return _new(rule.error, said, retry_after_s)
    return None


def _new(kind: type[ModelError], message: str, retry_after_s: float | None) -> ModelError:
    return kind(message, retry_after_s) if issubclass(kind, TransientError) else kind(message)
