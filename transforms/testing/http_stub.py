"""A stub server that speaks HTTP: every request goes to one method, and what it raises becomes an error's body."""

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
"""http_rest_api_util / net_http: how TensorFlow Serving turns its status codes into HTTP's. Others are 500."""


ACCEPT_TURNS = 5
"""How many turns of asyncio's loop there are at most between accepting a connection and its ``connection_made``."""


class HttpStub(StubServer, abc.ABC):
    """The server of a protocol over HTTP. See ``StubServer``."""

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
        for site in list(self._runner.sites):
            await site.stop()
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)  # a connection that is being accepted becomes one that aiohttp knows and closes
        await self._runner.cleanup()
        await asyncio.sleep(0)  # connections that were cut close in the loop's next turn


class UntypedResponse(web.Response):
    """A response without a Content-Type header, which aiohttp would add."""


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
    """Cuts the connection of a request."""
    if request.transport is not None:
        request.transport.abort()


def dump(document: Any) -> bytes:
    """As TensorFlow Serving writes: NaN and infinities bare, strings as the bytes they are."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
