"""``Reply`` and ``VertexRefusal``: the answers of Vertex AI. It translates refusals into the errors of this project.

Source: https://cloud.google.com/apis/design/errors (google.rpc.Status, RetryInfo and their form in JSON).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from transforms.clients.wire.status_codes import (
    GRPC_ERRORS,
    clean,
    from_grpc_code,
    http_error,
    marked,
    speaks_http1,
    text_rule,
)
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.errors import (
    ModelError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    UnavailableError,
)

# For answers that are not in Google's form, from a gateway or a private container: the code of a class of errors.
_STANDS_FOR: dict[type[ModelError], str] = {
    RejectedError: "INVALID_ARGUMENT",
    RequestTooLargeError: "INVALID_ARGUMENT",  # with the status 413 in its text; see _RULES
    OverloadedError: "RESOURCE_EXHAUSTED",
    UnavailableError: "UNAVAILABLE",
    NotServedError: "UNIMPLEMENTED",  # a redirect or an unknown 4xx: the address is wrong, and the records are not at fault
}
_DENIED = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_KNOWN = frozenset((*GRPC_ERRORS, *_DENIED.values(), "UNIMPLEMENTED"))

_PERMISSION = (
    "check the credentials (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS) and that they have "
    "the role roles/aiplatform.user in the project"
)
# FAILED_PRECONDITION mostly means that the container refuses the content of an instance; with these texts, that no model is
# deployed.
_NOT_DEPLOYED = re.compile(
    r"(?i)not deployed|undeployed|no (deployed|model)|(has|have) (no|not any|0) deployed|traffic.?split"
)
_RULES = (
    speaks_http1("use &transport=rest"),
    text_rule("INVALID_ARGUMENT", r"^HTTP 413: ", RequestTooLargeError),
    *SERVING_RULES,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A prediction.

    Attributes:
        predictions: The field ``predictions``, as JSON values; malformed if it is not a list.
        version: ``modelVersionId``.
        deployed_model: ``deployedModelId``: the model that answered, of those deployed to the endpoint.
        model_name: ``modelDisplayName`` of that model.
    """

    predictions: Any
    version: str = ""
    deployed_model: str = ""
    model_name: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class VertexRefusal:
    """An answer with a status other than OK.

    Attributes:
        code: The name of the ``google.rpc.Code``.
        text: The error text of the service or the container.
        retry_after_s: The wait that the service asks for in seconds; ``None`` if it asks for none.
        http_status: The HTTP status; 0 over gRPC.
    """

    code: str
    text: str
    retry_after_s: float | None = None
    http_status: int = 0

    @property
    def is_of_content(self) -> bool:
        """Whether the container refused or failed on the content. The endpoint is then reachable and serves a model."""
        if self.code == "FAILED_PRECONDITION":
            return not _NOT_DEPLOYED.search(self.text)
        return self.code in ("INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN")

    def error(self, where: str) -> ModelError:
        """Returns the error to raise.

        Args:
            where: The endpoint and its address, for the message.
        """
        denied = self.code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
        if not denied and (self.code != "FAILED_PRECONDITION" or self.is_of_content):
            status = f"HTTP {self.http_status}: " if self.http_status else ""
            failed = from_grpc_code(where, self.code, f"{status}{self.text}", self.retry_after_s, _RULES)
            return marked(failed, self.http_status) if self.http_status else failed  # 502, 503, 504 say more than the code
        status, said = f"HTTP {self.http_status}, " if self.http_status else "", clean(self.text)
        cure = f"; {_PERMISSION}" if denied else ""
        error = NotServedError(f"{where}: {status}{self.code}: {said or 'no details'}{cure}")
        error.said = said
        return error


def from_body(http_status: int, document: Any, text: str, retry_after_s: float | None) -> VertexRefusal:
    """Reads a refusal from an HTTP answer.

    Args:
        http_status: The HTTP status. With 200, the body has an ``error``, which counts as a refusal of the batch's content.
        document: The parsed body; ``None`` if it is not JSON.
        text: The body as text; used if the body is not JSON.
        retry_after_s: The Retry-After header in seconds; ``None`` if there was none. RetryInfo in the body overrides it.
    """
    error = document.get("error", document) if isinstance(document, dict) else document
    default = "INVALID_ARGUMENT" if http_status == 200 else _of_status(http_status)
    if not isinstance(error, dict):
        return VertexRefusal(default, text if error is None else str(error), retry_after_s, http_status)
    status, number = str(error.get("status")), error.get("code")
    by_number = _of_status(number) if type(number) is int and number >= 400 else default
    code = status if status in _KNOWN else by_number
    details = error.get("details")
    advice = [_delay_of(detail) for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    asked_s = next((delay_s for delay_s in advice if delay_s is not None), retry_after_s)
    return VertexRefusal(code, str(error.get("message", "")), asked_s, http_status)


def _of_status(http_status: int) -> str:
    """Returns the code of an HTTP status: one with the same error class in ``status_codes.py``."""
    error = http_error(http_status)
    transient = "INTERNAL" if http_status >= 500 else "ABORTED"
    return _DENIED.get(http_status) or _STANDS_FOR.get(error, transient)


def _delay_of(detail: Mapping[str, Any]) -> float | None:
    """Reads google.rpc.RetryInfo in its JSON form: ``{"@type": "…/google.rpc.RetryInfo", "retryDelay": "7.5s"}``."""
    if not str(detail.get("@type", "")).endswith("/google.rpc.RetryInfo"):
        return None
    matched = _DURATION.fullmatch(str(detail.get("retryDelay", "")))
    return float(matched[1]) if matched else None  # a wait time that can't be read is ignored
