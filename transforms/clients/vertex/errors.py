"""What Vertex AI answers, as values both transports give, and its refusals as this project's errors.

Source: https://cloud.google.com/apis/design/errors (google.rpc.Status, RetryInfo and their form in JSON).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from transforms.clients.wire.status_codes import clean, from_grpc_code, http_error, speaks_http1
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.errors import ModelError, NotServedError, RejectedError, TransientError

# google.rpc.Code by HTTP status, for answers without a status of Google's form: a gateway's, or a private container's.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    425: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OTHERS = ("ABORTED", "ALREADY_EXISTS", "DATA_LOSS", "FAILED_PRECONDITION", "INTERNAL", "OUT_OF_RANGE", "UNKNOWN")
_KNOWN = frozenset((*_CODES.values(), *_OTHERS, "UNIMPLEMENTED"))

_PERMISSION = (
    "check the credentials (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS) and that they have "
    "the role roles/aiplatform.user in the project"
)
# FAILED_PRECONDITION is mostly a container's refusal of what an instance holds, but not where there is no container.
_NOT_DEPLOYED = re.compile(
    r"(?i)not deployed|undeployed|no (deployed|model)|(has|have) (no|not any|0) deployed|traffic.?split"
)
_RULES = (speaks_http1("use &transport=rest"), *SERVING_RULES)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A prediction.

    Attributes:
        predictions: What came for the instances; anything but a list is malformed.
        version: ``modelVersionId``.
        deployed_model: ``deployedModelId``: which of the models deployed to the endpoint answered.
        model_name: ``modelDisplayName`` of that one.
    """

    predictions: Any
    version: str = ""
    deployed_model: str = ""
    model_name: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A status other than OK.

    Attributes:
        code: The name of its ``google.rpc.Code``.
        text: The service's or the container's text.
        retry_after_s: How long it asks to wait.
        http_status: The HTTP status; 0 over gRPC.
    """

    code: str
    text: str
    retry_after_s: float | None = None
    http_status: int = 0

    @property
    def is_of_content(self) -> bool:
        """Whether it is about what an instance holds, or the container broke on it: the endpoint itself is there."""
        if self.code == "FAILED_PRECONDITION":
            return not _NOT_DEPLOYED.search(self.text)
        return self.code in ("INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN")

    def error(self, where: str) -> ModelError:
        """Returns the error to raise.

        Args:
            where: The endpoint and its address, for the message.
        """
        if self.code == "FAILED_PRECONDITION" and self.is_of_content:
            return RejectedError(f"{where}: {self._said()}")
        if self.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return NotServedError(f"{where}: {self._said()}; {_PERMISSION}")
        status = f"HTTP {self.http_status}: " if self.http_status else ""
        return from_grpc_code(where, self.code, f"{status}{self.text}", self.retry_after_s, _RULES)

    def _said(self) -> str:
        status = f"HTTP {self.http_status}, " if self.http_status else ""
        return f"{status}{self.code}: {clean(self.text) or 'no details'}"


def from_body(http_status: int, document: Any, text: str, retry_after_s: float | None) -> Refusal:
    """Returns the refusal that an HTTP answer is.

    Args:
        http_status: Its status; 200 for an ``error`` in an answer that claims to be none: it is the batch's.
        document: Its body as JSON; ``None`` if it is none.
        text: Its body as text, which counts where it is no JSON.
        retry_after_s: What its Retry-After header says.
    """
    error = document.get("error", document) if isinstance(document, dict) else document
    default = "INVALID_ARGUMENT" if http_status == 200 else _of_status(http_status)
    if not isinstance(error, dict):
        return Refusal(default, text if error is None else str(error), retry_after_s, http_status)
    status, number = str(error.get("status")), error.get("code")
    by_number = _of_status(number) if type(number) is int and number >= 400 else default
    code = status if status in _KNOWN else by_number
    details = error.get("details")
    advice = [_delay_of(detail) for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    asked_s = next((delay_s for delay_s in advice if delay_s is not None), retry_after_s)
    return Refusal(code, str(error.get("message", "")), asked_s, http_status)


def _of_status(http_status: int) -> str:
    """The code by its name where that is known, else one that the table of ``status_codes.py`` gives the same error."""
    if code := _CODES.get(http_status):
        return code
    error = http_error(http_status)
    if issubclass(error, TransientError):
        return "INTERNAL" if http_status >= 500 else "ABORTED"
    # A redirect, or a 4xx of another kind, is no answer of this service: wrong address, and nothing to do with the records.
    return "INVALID_ARGUMENT" if issubclass(error, RejectedError) else "UNIMPLEMENTED"


def _delay_of(detail: Mapping[str, Any]) -> float | None:
    """Reads google.rpc.RetryInfo in its JSON form: ``{"@type": "…/google.rpc.RetryInfo", "retryDelay": "7.5s"}``."""
    if not str(detail.get("@type", "")).endswith("/google.rpc.RetryInfo"):
        return None
    matched = _DURATION.fullmatch(str(detail.get("retryDelay", "")))
    return float(matched[1]) if matched else None  # a wait time that can't be read is ignored
