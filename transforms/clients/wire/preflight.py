"""``find_endpoint``: whether an endpoint without a call for its health is there, without running its model."""

from __future__ import annotations

from collections.abc import Callable

import yarl

from transforms.clients.wire.http import HttpConnection, HttpResponse
from transforms.clients.wire.stand_ins import RedirectedError
from transforms.clients.wire.status_codes import DENIED
from transforms.errors import ModelError, NotServedError

_GATEWAY = (502, 503, 504)
"""Statuses of a server that is not there yet, or of the gateway before it."""


async def find_endpoint(
    http: HttpConnection,
    url: yarl.URL,
    timeout_s: float,
    where: str,
    from_answer: Callable[[str, HttpResponse], ModelError],
) -> None:
    """Asks for the methods of the endpoint (OPTIONS). A server that refuses the question is there.

    Args:
        http: The connection to its server.
        url: The endpoint.
        timeout_s: Seconds that the answer may take.
        where: What errors call it.
        from_answer: Makes the protocol's error of an answer.

    Raises:
        NotServedError: There is no such path.
        ModelError: Who asks is refused, or the server is not there.
    """
    try:
        answer = await http.send("OPTIONS", url, timeout_s)
    except RedirectedError:
        return  # of this method
    if answer.status == 404:
        raise NotServedError(f"{where}: HTTP 404: it has no path {url.path}")
    if answer.status in (*DENIED, *_GATEWAY):
        raise from_answer(where, answer)
