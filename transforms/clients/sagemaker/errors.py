"""Translates SageMaker's error answers into the errors of this project.

SageMaker names the kind of an error in a header and wraps those of the container: ``ModelError``, HTTP 424, with the status
and the text that the container answered.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html#API_runtime_InvokeEndpoint_Errors;
https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html.
"""

from __future__ import annotations

import re
from typing import Any

from transforms.clients.wire.error_texts import error_text, readable
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.status_codes import from_http_status, text_rule
from transforms.errors import (
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    UnavailableError,
)

MODEL_ERROR = "ModelError"
VALIDATION_ERRORS = frozenset({"ValidationError", "ValidationException"})

CREDENTIALS_REFUSED = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "TokenRefreshRequired",
})  # fmt: skip
"""What AWS says of credentials that have expired or are not known: others may be there by now."""

_THROTTLED = frozenset({
    "ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
})  # fmt: skip
_SIGNATURE = frozenset({
    "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "RequestExpired", "RequestTimeTooSkewed",
})  # fmt: skip
_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired"})
_CURES = (
    (CREDENTIALS_REFUSED, "renew the AWS credentials: they are read again with each request that follows"),
    (_SIGNATURE, "check the region, the secret key and this machine's clock"),
    (_DENIED, "the credentials need the permission sagemaker:InvokeEndpoint on this endpoint"),
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_NOT_THERE = re.compile(
    r"(?i)\b(endpoint|variant|component)\b.*\b(not (be )?found|does not exist|not exist)\b|could not find"
)
_COMPONENT = re.compile(r"(?i)inference component name (header )?is required")
_LENGTH = re.compile(r"(?i)less than or equal to \d+|too large|exceed\w* the (maximum|limit)")
_TIMED_OUT = re.compile(r"(?i)timed out|time-?out")
_RULES = (text_rule("500", "", ModelFailedError),)
"""A 500 of the container is its model's: a gateway's errors have other statuses."""


def error_name(answer: HttpResponse) -> str:
    """Returns the name of an answer's error; empty if it is not in AWS's form."""
    document = _document(answer.body)
    given = answer.headers.get("x-amzn-ErrorType") or document.get("__type") or document.get("code")
    name = str(given).partition(":")[0].rpartition("#")[2].strip()
    return name if _NAME.fullmatch(name) and isinstance(given, str) else ""


def is_of_container(answer: HttpResponse) -> bool:
    """Whether the container, or SageMaker's check of the content, refused or failed on a request: the endpoint is there."""
    name, document = error_name(answer), _document(answer.body)
    if name == MODEL_ERROR:
        status = _original_status(document)
        return status not in (0, 404, 502, 503, 504)
    return name in VALIDATION_ERRORS and isinstance(error_of("", answer), RejectedError)


def error_of(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 2xx.

    Args:
        where: The endpoint and its address, for the message.
        answer: The answer.
    """
    name, document = error_name(answer), _document(answer.body)
    if name == MODEL_ERROR:
        return _of_container(where, document, answer)
    text = readable(error_text(answer.body) or str(document.get("Message") or "")) or answer.reason
    kind, cure = _kind(name, text)
    if kind is None:
        return from_http_status(where, answer.status, f"{name}: {text}" if name else text, answer.retry_after_s)
    message = f"{where}: {name}: {text or 'no error text'}{f'; {cure}' if cure else ''}"
    transient = issubclass(kind, OverloadedError | UnavailableError)
    error = kind(message, answer.retry_after_s, True) if transient else kind(message)  # type: ignore[call-arg]
    error.said = text
    return error


def _kind(name: str, text: str) -> tuple[type[ModelError] | None, str]:
    """Returns the class of an error, and what can be done; no class if its HTTP status says it."""
    if name in _THROTTLED:
        return OverloadedError, ""
    if name == "ModelNotReadyException":
        return UnavailableError, ""
    if name in VALIDATION_ERRORS:
        if _COMPONENT.search(text):
            return NotServedError, "add &component=NAME to --model"
        if _NOT_THERE.search(text):
            return NotServedError, "check the name, the region and the account of the credentials"
        return RequestTooLargeError if _LENGTH.search(text) else RejectedError, ""
    cure = next((cure for names, cure in _CURES if name in names), "")
    return (NotServedError, cure) if cure else (None, "")


def _of_container(where: str, document: dict[str, Any], answer: HttpResponse) -> ModelError:
    """Returns the error for a container's answer, of a status of its own; 0 stands for none."""
    status = _original_status(document)
    said = document.get("OriginalMessage") or document.get("Message") or document.get("message") or ""
    text = readable(error_text(str(said).encode()))
    if status == 0 and _TIMED_OUT.search(text):
        error: ModelError = OverloadedError(
            f"{where}: the container did not answer within SageMaker's 60 s: {text}", answer.retry_after_s
        )
        error.said = text
        return error
    return from_http_status(f"{where} (its container)", status or 500, text, answer.retry_after_s, _RULES)


def _original_status(document: dict[str, Any]) -> int:
    status = document.get("OriginalStatusCode", 500)
    return status if type(status) is int and (status == 0 or 300 <= status < 600) else 500


def _document(body: bytes) -> dict[str, Any]:
    try:
        document: Any = loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
