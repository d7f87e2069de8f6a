"""Translates errors of Open Inference Protocol servers into the errors of this project, by status code and text.

The protocol does not define status codes, and servers use them in different and misleading ways. Seen with MLServer 1.7.1,
Triton 2.51 and KServe 0.21:

* INTERNAL and 500 mean that something failed in the model's code: a row that it can't take, or a lack of memory. The code
  does not say which. They are transient, because records must not be rejected for a fault of the server. If the text says
  that the model failed, the error is ``ModelFailedError``: the caller finds guilty rows by bisection after its retries
  (``predict/dispatch.py``).
* Triton answers 500 to a request that it can't parse, and MLServer answers INTERNAL to values that its codecs can't take.
  The text shows it, so these requests are rejected.
* While a model is not ready, MLServer answers 400 and INVALID_ARGUMENT, and Triton NOT_FOUND. The model is unavailable.
* MLServer's 422 is FAILED_PRECONDITION over gRPC. The request is rejected.
"""

from __future__ import annotations

from transforms.clients.wire.error_texts import error_text, readable
from transforms.clients.wire.status_codes import from_grpc_code, from_http_status, speaks_http1, text_rule
from transforms.errors import (
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    UnavailableError,
)

# The first rule that matches is used.
_REFUSED = "INVALID_ARGUMENT FAILED_PRECONDITION NOT_FOUND UNAVAILABLE 400 404 503"
_RULES = (
    # Triton: "… exceeds maximum queue size", "Request timeout expired" (while queued): the server is overloaded.
    text_rule(_REFUSED, r"(?i)exceeds maximum queue size|request timeout expired", OverloadedError),
    text_rule(
        _REFUSED, r"(?i)is not ready|not at ready state|has no available versions|model version not ready", UnavailableError
    ),
    # Triton, of a model that was unloaded: "Request for unknown model: 'm' is not found".
    text_rule(_REFUSED, r"(?i)request for unknown model", NotServedError),
    # The fault is in the values of this request, although the code is "internal". Triton's HTTP front end (http_server.cc)
    # finds it before the model runs. MLServer's codecs raise it for text that is not UTF-8, and for an output with NaN.
    text_rule(
        "INTERNAL UNKNOWN 500",
        r"(?i)unable to parse '|failed to parse the request json|unexpected additional input data"
        r"|codec can't decode byte|required argument is not a float",
        RejectedError,
    ),
    # Triton (infer_response, python_be.cc). MLServer and KServe answer an uncaught exception with Starlette's text, or with
    # the exception as "ValueError : …". MLServer over gRPC sends the exception's text alone, which no pattern can recognise.
    text_rule(
        "INTERNAL 500",
        r"Failed to process the request\(s\) for model|^(?i:internal server error)$|^\w+(Error|Exception) : ",
        ModelFailedError,
    ),
)


def from_grpc(
    where: str, code: str, text: str, retry_after_s: float | None = None, http_uri: str = "oip+http://"
) -> ModelError:
    """Returns the error for a gRPC status. See ``from_grpc_code``.

    Args:
        where: As there.
        code: As there.
        text: As there.
        retry_after_s: As there.
        http_uri: The URI that would do if the port is that of HTTP.
    """
    http1 = speaks_http1(f"for the REST port use {http_uri}")
    return from_grpc_code(where, code, readable(text), retry_after_s, (http1, *_RULES))


def from_http(where: str, status: int, body: bytes, retry_after_s: float | None = None) -> ModelError:
    """Returns the error for an HTTP status other than 200. See ``from_http_status``."""
    return from_http_status(where, status, readable(error_text(body)), retry_after_s, _RULES)
