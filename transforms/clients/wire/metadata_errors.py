"""What may go wrong while a client reads its metadata, as ``ModelClient.metadata`` has to tell it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from transforms.errors import ModelError, NotServedError, RejectedError, TransientError, UnavailableError


@contextlib.contextmanager
def as_metadata_errors(other_port: str, refusals_too: bool = True) -> Iterator[None]:
    """Turns any ``ModelError`` of the block into the two of ``ModelClient.metadata``.

    Args:
        other_port: The question to ask where the answer is of another kind than the protocol's: the wrong port, mostly.
        refusals_too: Whether a refusal is of another kind, too. If not, it is the protocol's own way to say no.

    Raises:
        UnavailableError: Nobody answers, or not now.
        NotServedError: Whatever else it was.
    """
    try:
        yield
    except (UnavailableError, NotServedError):
        raise
    except TransientError as error:
        raise UnavailableError(str(error), error.retry_after_s) from error
    except ModelError as error:
        hint = f"; {other_port}" if refusals_too or not isinstance(error, RejectedError) else ""
        raise NotServedError(f"{error}{hint}") from error
