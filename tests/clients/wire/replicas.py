"""Servers of one name, each on an address of its own of this machine, which answer with that address."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self

import grpc
from aiohttp import web

from transforms.testing.grpc_stub import service_handlers


def free_port() -> int:
    """A port that is free on all addresses of this machine."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        port: int = taken.getsockname()[1]
        return port


class GrpcReplica:
    """A gRPC server with one method.

    Args:
        host: Its address.
        port: Its port; 0 takes a free one.
        options: Options of the server.

    Attributes:
        asked: How many requests came.
        connections: The clients' addresses.
        held: While it is not set, requests get no answer.
    """

    method = "/test.Service/Ask"

    def __init__(self, host: str, port: int = 0, options: tuple[tuple[str, Any], ...] = ()):
        self.host, self.port, self._options = host, port, options
        self.asked = 0
        self.connections: set[str] = set()
        self.held = asyncio.Event()
        self.held.set()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0), *self._options))
        self._server.add_generic_rpc_handlers(service_handlers({self.method: self._answer}))
        self.port = self._server.add_insecure_port(f"{self.host}:{self.port}")
        await self._server.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.held.set()
        await self._server.stop(None)

    async def _answer(self, body: bytes, context: Any) -> bytes:
        self.asked += 1
        self.connections.add(context.peer())
        await self.held.wait()
        return self.host.encode()


class HttpReplica:
    """An HTTP server.

    Args:
        host: Its address.
        port: Its port; 0 takes a free one.

    Attributes:
        asked: How many requests came.
        connections: The clients' ports.
    """

    def __init__(self, host: str, port: int = 0):
        self.host, self.port = host, port
        self.asked = 0
        self.connections: set[int] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername")[1])
        return web.Response(body=self.host.encode())
