"""``CuttingProxy``: stands between a job and its model server, and cuts connections in the middle of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import Self

from transforms.testing.stub_server import end_all_others

CHUNK_BYTES = 1 << 16

ANSWER_BYTES = 100
"""What comes in fewer bytes is none: a gRPC server's settings, acknowledgements and pings."""


class CuttingProxy:
    """Passes bytes on in both directions; use it as a context manager.

    Args:
        target: ``HOST:PORT`` of the model server.
        rng: Says after which byte of an answer a connection is cut.

    Attributes:
        cuts: How many answers it has cut.
    """

    def __init__(self, target: str, rng: random.Random):
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._rng = rng
        self._left = 0
        self.cuts = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutting-proxy", daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    def cut_next(self, answers: int) -> None:
        """Cuts so many of the answers that come from now on, each at a byte within it, for good."""
        self._loop.call_soon_threadsafe(self._to_cut, answers)

    def _to_cut(self, answers: int) -> None:
        self._left += answers

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # one side is gone, or the proxy ends
                there, back = await asyncio.open_connection(self._host, self._port)
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer, answers=True))
        finally:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool = False) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if answers and self._left and len(chunk) >= ANSWER_BYTES:
                    self._left -= 1
                    self.cuts += 1
                    writer.write(chunk[: self._rng.randrange(1, len(chunk))])
                    await writer.drain()
                    break
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()  # sends what is written before it ends the connection: the client sees the part of the answer

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        await end_all_others()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(30)
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
