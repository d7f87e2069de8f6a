"""Translates the errors of asking for metadata, and of reading them, into those that ``ModelClient.metadata`` may raise."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from transforms.clients.wire.status_codes import UNIMPLEMENTED, SpeaksHttp2Error
from transforms.errors import (
    AnswerTooLargeError,
    ModelError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.internal_errors import is_internal, kind_and_place

MAX_METADATA_BYTES = 16 << 20
"""Of one answer that describes a server or a model. A real one has some thousands; these are read in a second or two."""


def of_metadata(body: bytes, where: str) -> bytes:
    """Returns an answer that describes something, if it is short enough to be read in bounded time.

    Raises:
        NotServedError: It is longer.
    """
    if len(body) > MAX_METADATA_BYTES:
        raise NotServedError(f"{where}: its metadata have {len(body)} bytes; at most {MAX_METADATA_BYTES} are read")
    return body


_PATH = re.compile(r"\S*/\S*")
_MODEL = re.compile(r"(?i)\b(model|servable)s?\b")


def has_no_such_call(status: int, text: str) -> bool:
    """Whether an answer is that of a server without this call, rather than of one without this model.

    Both may be a 404. The servers of the protocols name the model in their text ("Servable not found", "Model m not found");
    a web framework that has no such route names the path at most.

    Args:
        status: The HTTP status.
        text: The error text.
    """
    return status in UNIMPLEMENTED or (status == 404 and not _MODEL.search(_PATH.sub(" ", text)))


@contextlib.contextmanager
def as_metadata_errors(
    other_port: str, refusals_too: bool = True, where: str = "the model", over_grpc: str = ""
) -> Iterator[None]:
    """Turns the errors of the block into the two of ``ModelClient.metadata``.

    The block asks for the metadata and reads them, too. What a hostile answer makes a parser raise is nobody's list: any
    exception that is not about the process is the answer's.

    Args:
        other_port: A hint for the message if the answer is not one of this protocol, which mostly means a wrong port.
        refusals_too: Whether to add the hint to a ``RejectedError`` too. Pass False if the protocol's servers answer a
            request for metadata with such an error themselves.
        where: The model and its address, for messages.
        over_grpc: The hint, in place of ``other_port``, if the port is that of a gRPC server.

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
        cure = over_grpc if over_grpc and isinstance(error, SpeaksHttp2Error) else other_port
        hint = "" if any_port else f"; {cure}"
        raise NotServedError(f"{error}{hint}") from error
    except Exception as error:
        if not is_internal(error):
            raise
        raise NotServedError(f"{where}: its metadata can't be read ({kind_and_place(error)}); {other_port}") from error
