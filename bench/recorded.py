"""Records one request of a client as bytes, for the plain load generator.

A forwarder on 127.0.0.1 is between client and server while the client reads the metadata and predicts once. The last request
is the prediction. HTTP is recorded as the bytes on the wire, gRPC as method and message.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

LIMIT = 64 << 20
"""Size limit of a message, in bytes."""


@dataclasses.dataclass(slots=True)
class Request:
    """The last request that was sent.

    Attributes:
        target: ``HOST:PORT`` of the server.
        method: Full name of the gRPC method; empty for HTTP.
        metadata: gRPC metadata, without what gRPC adds by itself.
        data: The message, or the whole HTTP request with its head.
    """

    target: str
    method: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    data: bytes = b""


def authority(uri: str) -> str:
    """``HOST:PORT`` of a model URI."""
    found = re.match(r"[\w+]+://([^/]+)/", uri)
    if found is None:
        raise ValueError(f"{uri} has no HOST:PORT")
    return found[1]


@contextlib.asynccontextmanager
async def forwarding(uri: str) -> AsyncIterator[tuple[str, Request]]:
    """Yields the URI of the forwarder and the request that it saw last."""
    request = Request(authority(uri))
    forward = _grpc if "grpc" in uri.partition("://")[0] else _http
    async with forward(request) as port:
        yield uri.replace(request.target, f"127.0.0.1:{port}", 1), request


class _Forward(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.aio.Channel, seen: Callable[[str, tuple[tuple[str, str], ...], bytes], None]):
        self._channel, self._seen = channel, seen

    def service(self, call: Any) -> Any:
        metadata = tuple((name, value) for name, value in call.invocation_metadata if name != "user-agent")

        async def answer(message: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self._seen(call.method, metadata, message)
            try:
                answered: bytes = await self._channel.unary_unary(call.method)(message, metadata=metadata, timeout=30)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return answered

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.asynccontextmanager
async def _grpc(request: Request) -> AsyncIterator[int]:
    def seen(method: str, metadata: tuple[tuple[str, str], ...], message: bytes) -> None:
        request.method, request.metadata, request.data = method, metadata, message

    options = [("grpc.max_receive_message_length", LIMIT)]
    async with grpc.aio.insecure_channel(request.target, options=options) as channel:
        server = grpc.aio.server(handlers=[_Forward(channel, seen)], options=options)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)


@contextlib.asynccontextmanager
async def _http(request: Request) -> AsyncIterator[int]:
    host, _, port = request.target.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
            while True:
                request.data = await read_message(reader)
                server_writer.write(request.data)
                writer.write(await read_message(server_reader))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=LIMIT)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP/1.1 request or response, head and body, as it is on the wire.

    Raises:
        asyncio.IncompleteReadError: The connection ended.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    if re.search(rb"(?i)\r\ntransfer-encoding:[^\r]*chunked", head):
        parts = [head]
        while True:
            size = await reader.readuntil(b"\r\n")
            parts += [size, await reader.readexactly(int(size.split(b";")[0], 16) + 2)]
            if int(size.split(b";")[0], 16) == 0:
                return b"".join(parts)
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)
