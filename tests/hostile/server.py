"""A server that misbehaves on the wire, in the place of a stub that the client knows already; and what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import UnavailableError
from transforms.testing.stub_server import StubServer
from transforms.types import Answer

MIB = 1 << 20
TIMEOUT_S = 2.0
MARGIN_S = 240.0
"""For a busy machine; what hangs, hangs for ever."""

MAX_ANSWER_BYTES = 8 * MIB
MOST_GROWTH = 160 * MIB

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BEFORE = ("Connection refused", "Failed to connect to remote host")
"""What a client says of a connection that the stub, on its way out, did not take: refused, or cut before it was one."""

X = {"x": np.array([[3.0]], np.float32)}


@functools.cache
def bomb() -> bytes:
    """Bytes that gzip inflates to far more than an answer may have, and the process may grow."""
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*(press.compress(bytes(MIB)) for _ in range(400)), press.flush()])


class Asked:
    """A client whose requests reach the server in place of the stub: not the connection on which the stub says goodbye.

    Args:
        client: It has read the metadata.

    Attributes:
        reached: Set once the server has got a connection.
    """

    def __init__(self, client: ModelClient):
        self._client, self.reached = client, asyncio.Event()

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """As ``ModelClient.predict``."""
        while True:
            try:
                return await self._client.predict(inputs, rows, timeout_s)
            except UnavailableError as error:
                # gRPC connects by itself when the server is there, and still tells why it could not before.
                if self.reached.is_set() and not any(text in str(error) for text in BEFORE):
                    raise
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def in_place_of(stub: StubServer, connection: Connection) -> AsyncIterator[Asked]:
    """Yields a client that has read the stub's metadata; from then on ``connection`` handles each of its connections."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.reached.set()
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await connection(reader, writer)
        finally:
            writer.close()

    async with open_client(stub.uri(), ClientOptions(max_answer_bytes=MAX_ANSWER_BYTES)) as client:
        await client.metadata(MARGIN_S)
        asked = Asked(client)
        await asyncio.to_thread(stub.down)
        server = await asyncio.start_server(handle, "127.0.0.1", stub.port, reuse_port=True)
        try:
            yield asked
        finally:
            server.close()


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fails if the block takes longer than a request may, or if the process grows too much meanwhile (Linux)."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    with contextlib.suppress(OSError):
        clear.write_text("5")  # the peak from now on
    before, began = _kib(status, "VmRSS"), time.monotonic()
    yield
    assert time.monotonic() - began < TIMEOUT_S + MARGIN_S
    assert (_kib(status, "VmHWM") - before) * 1024 < MOST_GROWTH


def _kib(status: Path, name: str) -> int:
    return int(status.read_text().partition(f"{name}:")[2].split()[0]) if status.is_file() else 0


async def forever(writer: asyncio.StreamWriter, piece: bytes, pause_s: float = 0.0) -> None:
    """Sends ``piece`` again and again, until nobody takes it."""
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)
