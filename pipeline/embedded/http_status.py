"""The form of a failed request in each protocol. Sources: ``grpc_status_util.cc``, ``ToHTTPStatusCode``."""

from __future__ import annotations

from transforms.clients.tf_runtime.serving_error import Code, ServingError

MESSAGE_LIMIT = 1024

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""Status code to HTTP status, as TensorFlow Serving maps them."""


def grpc_message(error: ServingError) -> str:
    """Returns the error's message, cut to the length that gRPC can send in a header."""
    if len(error.message) > MESSAGE_LIMIT:
        return error.message[:MESSAGE_LIMIT] + "...TRUNCATED"
    return error.message
