"""Connections: which are used again, and large bodies. The rest is the contract's, over each protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import yarl
from aiohttp import web

from transforms.clients.base import ClientOptions
from transforms.clients.wire.http import HttpConnection

TIMEOUT_S = 20.0
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def use(handle: Handle, work: Callable[[HttpConnection, yarl.URL], Awaitable[None]]) -> None:
    """Runs ``work`` with a connection to a server that answers every request by ``handle``."""

    async def run() -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        http = HttpConnection("here", False, ClientOptions())
        try:
            await work(http, yarl.URL(f"http://{host}:{port}/"))
        finally:
            await http.close()
            await runner.cleanup()

    asyncio.run(run())


@pytest.mark.parametrize(("status", "body", "again"), [(200, b"", True), (400, b"no", True), (500, b"no", False)])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_after_a_5xx_a_connection_is_not_used_again(status: int, body: bytes, again: bool, in_pieces: bool) -> None:
    """uvicorn closes it behind the answer, unannounced; whether the body came with the head must not matter."""
    peers = []

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        if not in_pieces:
            return web.Response(status=status, body=body)
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        await asyncio.sleep(0)
        await response.write(body * 100_000)
        return response

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        for _ in range(2):
            assert (await http.send("POST", url, TIMEOUT_S, b"[]")).status == status

    use(handle, work)
    assert (peers[0] == peers[1]) == again


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_bodies_of_any_size_arrive_with_their_length_and_type(size: int) -> None:
    """aiohttp warns of bytes above 1 MiB, and warnings are errors here."""
    came = []

    async def handle(request: web.Request) -> web.StreamResponse:
        came.append((request.content_length, request.headers.getall("Content-Type"), await request.read()))
        return web.Response()

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        await http.send("POST", url, TIMEOUT_S, b"x" * size, "image/png")

    use(handle, work)
    assert came == [(size, ["image/png"], b"x" * size)]
