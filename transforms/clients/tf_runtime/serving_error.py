"""``ServingError``, the exception of a model that runs in this process, and its status codes.

The codes are those of gRPC and of TensorFlow (``absl::StatusCode``). The embedded model server translates a ``ServingError``
to an error response of its protocol. The client of the model in the worker translates it to an error of this project.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """The canonical status codes, with gRPC's numbers."""

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


class ServingError(Exception):
    """A request failed.

    Attributes:
        code: The canonical status code.
        message: The error message for the client.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> ServingError:
    """Returns the error for a request with wrong content: INVALID_ARGUMENT."""
    return ServingError(Code.INVALID_ARGUMENT, message)
