"""Status codes and the one exception of a model that runs in this process.

The codes are gRPC's, which are TensorFlow's too (``absl::StatusCode``). ``ServingError`` is what a request fails with: the
embedded server turns it into its protocols' form of answer, the client in the worker into this project's errors.
"""

from __future__ import annotations

import enum


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


class ServingError(Exception):
    """One request failed.

    Attributes:
        code: The canonical code.
        message: The text that the client gets.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> ServingError:
    """The request's content is wrong."""
    return ServingError(Code.INVALID_ARGUMENT, message)
