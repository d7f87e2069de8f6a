"""Status codes and the one exception of the model server.

The codes are gRPC's, which are TensorFlow's too (``absl::StatusCode``). ``ServingError`` is what a request fails with; the
gRPC and the REST service each turn it into their own form of answer, as TensorFlow Serving does
(``grpc_status_util.cc``, ``ToHTTPStatusCode`` in ``http_server.cc``).
"""

from __future__ import annotations

import enum

MESSAGE_LIMIT = 1024


class Code(enum.IntEnum):
    """The canonical codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


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
"""Code to HTTP status, as TensorFlow Serving maps them."""


class ServingError(Exception):
    """One request failed.

    Attributes:
        code: The canonical code.
        message: What the client is told.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def grpc_message(self) -> str:
        """The message as gRPC carries it: cut, because it travels in a header."""
        if len(self.message) > MESSAGE_LIMIT:
            return self.message[:MESSAGE_LIMIT] + "...TRUNCATED"
        return self.message


def invalid_argument(message: str) -> ServingError:
    """The request's content is wrong."""
    return ServingError(Code.INVALID_ARGUMENT, message)
