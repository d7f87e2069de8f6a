"""Translates the errors of requests for metadata into those that ``ModelClient.metadata`` may raise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from transforms.errors import (
    AnswerTooLargeError,
    ModelError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)


@contextlib.contextmanager
def as_metadata_errors(other_port: str, refusals_too: bool = True) -> Iterator[None]:
    """Turns any ``ModelError`` of the block into one of the two errors of ``ModelClient.metadata``.

    Args:
        other_port: A hint for the message if the answer is not one of this protocol, which mostly means a wrong port.
        refusals_too: Whether to add the hint to a ``RejectedError`` too. Pass False if the protocol's servers answer a
            request for metadata with such an error themselves.

    Raises:
        UnavailableError: The error was transient.
        NotServedError: It was any other error.
    """
    try:
        yield
    except (UnavailableError, NotServedError):
        raise
    except TransientError as error:
        raise UnavailableError(str(error), error.retry_after_s) from error
    except ModelError as error:
        any_port = isinstance(error, AnswerTooLargeError) or (isinstance(error, RejectedError) and not refusals_too)
        hint = "" if any_port else f"; {other_port}"
        raise NotServedError(f"{error}{hint}") from error
