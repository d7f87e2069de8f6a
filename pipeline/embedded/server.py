"""The model server: both protocols over the loaded models, on one asyncio loop.

The models run in a small pool of threads. TensorFlow also has its own threads, and the GIL is free while a model runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from aiohttp import web
from grpc import aio

from pipeline.embedded.grpc_service import start_grpc
from pipeline.embedded.rest_service import start_rest
from pipeline.embedded.servable import Models
from pipeline.embedded.server_config import ServerConfig

STOP_GRACE_S = 1.0


class Server:
    """A running model server; use it as an async context manager.

    Attributes:
        models: The loaded models.
        grpc_port: The bound port, ``None`` without gRPC.
        rest_port: The bound port, ``None`` without REST.
    """

    def __init__(self, config: ServerConfig):
        self._config = config
        self._executor = ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1) + 2, thread_name_prefix="model")
        self._grpc: aio.Server | None = None
        self._rest: web.ServerRunner | None = None
        self._polling: asyncio.Task[None] | None = None
        self.models: Models
        self.grpc_port: int | None = None
        self.rest_port: int | None = None

    async def __aenter__(self) -> Self:
        """Loads the models, then opens the ports; so a client that can connect gets answers.

        Raises:
            ValueError: A model has nothing to serve.
            ServingError: TensorFlow can't load a model.
            OSError: A port is in use.
        """
        config = self._config
        self.models = await asyncio.to_thread(Models, config.models, say=_say)
        try:
            if config.grpc_port is not None:
                self._grpc, self.grpc_port = await start_grpc(
                    self.models, self._executor, config.grpc_port, config.tensor_content
                )
            if config.rest_port is not None:
                self._rest, self.rest_port = await start_rest(self.models, self._executor, config.rest_port)
        except BaseException:
            await self.__aexit__()
            raise
        if config.poll_s:
            self._polling = asyncio.create_task(self._poll(config.poll_s))
        return self

    async def _poll(self, poll_s: float) -> None:
        while True:
            await asyncio.sleep(poll_s)
            try:
                await asyncio.shield(asyncio.to_thread(self.models.refresh))
            except Exception as error:  # noqa: BLE001  # of the disk or of TensorFlow: the next look may be better
                _say(f"looking for other versions failed: {type(error).__name__}: {error}")

    async def __aexit__(self, *exc_info: object) -> None:
        """Stops the server; requests in flight get a moment to finish."""
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        if self._grpc is not None:
            await self._grpc.stop(STOP_GRACE_S)
        if self._rest is not None:
            await self._rest.cleanup()
        self._executor.shutdown()
        self.models.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
