"""``HttpStub``: the base class of stub servers that speak HTTP."""

from __future__ import annotations

import abc
import asyncio
import json
import ssl
from typing import Any

from aiohttp import web

from transforms.testing.stub_server import StubServer, Tls

HTTP_STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""TensorFlow's status codes to TensorFlow Serving's HTTP statuses. Other codes are 500.

Source: http_rest_api_util.cc and net_http in tensorflow_serving/util.
"""


ACCEPT_TURNS = 5
"""The highest number of iterations of asyncio's loop between the accept of a connection and its ``connection_made``."""


class HttpStub(StubServer, abc.ABC):
    """A stub server that speaks HTTP. A protocol implements ``_handle``, which gets all requests. See ``StubServer``."""

    _runner: web.AppRunner | None = None

    @abc.abstractmethod
    async def _handle(self, request: web.Request) -> web.StreamResponse: ...

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_without_content_type)
        # Without it a cancelled request would go on: aiohttp keeps handlers running when a client leaves.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        context = _ssl(self._tls) if self._tls else None
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_port=True, ssl_context=context).start()

    async def _stop(self) -> None:
        assert self._runner is not None
        await _accepted()
        for site in list(self._runner.sites):
            await site.stop()
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)  # a connection that is being accepted becomes one that aiohttp knows and closes
        await self._runner.cleanup()
        await asyncio.sleep(0)  # connections that were cut close in the loop's next turn


async def _accepted() -> None:
    """Waits until what was accepted is known to its server: asyncio leaves a socket open whose server is closed before."""
    seen: set[asyncio.Task[Any]] = set()
    while new := {task for task in asyncio.all_tasks() if "_accept_connection" in repr(task.get_coro())} - seen:
        seen |= new
        await asyncio.sleep(0)


class UntypedResponse(web.Response):
    """A response without a ``Content-Type`` header. aiohttp adds one to others."""


async def _without_content_type(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, UntypedResponse):
        response.headers.popall("Content-Type", None)


def _ssl(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca_file)
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def hang_up(request: web.Request) -> None:
    """Cuts the TCP connection of a request."""
    if request.transport is not None:
        request.transport.abort()


def dump(document: Any) -> bytes:
    """Returns JSON in the form of TensorFlow Serving: NaN and infinities as literals, strings as their original bytes."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
