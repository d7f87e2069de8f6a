"""Bounds the size and the time of a schema registry's answers. confluent-kafka's client bounds neither, and decompresses.

The client has no option for it, but its HTTP session (httpx, or httpx2) has hooks. So each answer's body goes through
``AnswerBody``, like those of model servers, and has to be complete within the time-out.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from transforms.answer_body import ACCEPT_ENCODING, NOT_COMPRESSED, AnswerBody
from transforms.errors import UnavailableError

_LOG = logging.getLogger(__name__)


def bound_answers(
    client: Any, where: str, limit: int, timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Makes a ``SchemaRegistryClient`` refuse answers that are too large, compressed, or too slow.

    Args:
        client: The client.
        where: The registry, for error messages.
        limit: Most bytes of an answer.
        timeout_s: Seconds for one answer, from the request to the last byte.
        clock: Returns seconds, monotonic.

    Returns:
        Whether the client's session has the hooks. If not, the client is left as it is, with a warning.
    """
    session: Any = getattr(getattr(client, "_rest_client", None), "session", None)
    library = importlib.import_module(type(session).__module__.partition(".")[0])
    if not hasattr(session, "event_hooks") or not hasattr(library, "SyncByteStream"):
        _LOG.warning("%s: this version of confluent-kafka has another client; its answers are not bounded", where)
        return False

    class Bounded(library.SyncByteStream):  # type: ignore[name-defined]  # httpx takes no other kind of stream
        def __init__(self, stream: Any, body: AnswerBody, until_s: float):
            self._stream, self._body, self._until_s = stream, body, until_s

        def __iter__(self) -> Iterator[bytes]:
            for piece in self._stream:
                self._body.add(piece)
                if clock() > self._until_s:
                    raise UnavailableError(f"{where}: no whole answer within {timeout_s:g} s")
                yield piece

        def close(self) -> None:
            self._stream.close()

    def begin(request: Any) -> None:
        request.headers[ACCEPT_ENCODING] = NOT_COMPRESSED
        request.extensions["until_s"] = clock() + timeout_s

    def bound(response: Any) -> None:
        body = AnswerBody(where, limit, response.headers.get("content-encoding", ""))
        response.stream = Bounded(response.stream, body, response.request.extensions["until_s"])

    session.event_hooks = {"request": [begin], "response": [bound]}
    return True
