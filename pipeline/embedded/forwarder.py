"""Forwards TCP connections from a fixed port of 127.0.0.1 to another address, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from transforms.errors import KafkaError

HOST = "127.0.0.1"
_CHUNK = 65536


class Forwarder:
    """Listens on ``port`` and passes every connection on to ``target`` (``HOST:PORT``)."""

    def __init__(self, port: int, target: str):
        self._port = port
        host, _, target_port = target.rpartition(":")
        self._target = host, int(target_port)
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)

    def start(self) -> str:
        """Starts listening and returns the address.

        Raises:
            KafkaError: The port is in use.
        """
        self._thread.start()
        listening = asyncio.start_server(self._connected, HOST, self._port)
        try:
            self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        except OSError as error:
            self.close()
            raise KafkaError(f"the embedded broker can't listen on {HOST}:{self._port}; is the port in use?") from error
        return f"{HOST}:{self._port}"

    def close(self) -> None:
        """Stops listening and drops the connections. May be called twice."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        if self._server is not None:
            self._server.close()
        # Until there are none: a connection that was being accepted begins its own, which the loop must not stop before.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # each has begun after it, and closes the connection it was given
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
            finally:
                upstream_writer.close()
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
