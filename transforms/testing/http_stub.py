"""What every stub server over HTTP shares."""

from __future__ import annotations

import abc
import asyncio
import ssl

from aiohttp import web

from transforms.testing.stub_server import StubServer, Tls


class HttpStub(StubServer):
    """A stub server over HTTP. See ``StubServer``."""

    _runner: web.AppRunner | None = None

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Without it a cancelled request would go on: aiohttp keeps handlers running when a client leaves.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        context = _ssl(self._tls) if self._tls else None
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_port=True, ssl_context=context).start()

    async def _stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await asyncio.sleep(0)  # connections that were cut close in the loop's next turn

    @abc.abstractmethod
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answers a request of any method and path."""


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
