"""Asks a client for rows, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.wire.json_rows import as_instances
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.stub_server import StubServer
from transforms.types import Answer

T = TypeVar("T")


def use(uri: str, work: Callable[[ModelClient], Awaitable[T]], options: ClientOptions | None = None) -> T:
    """Returns what comes of work with a client that has read its metadata."""

    async def run() -> T:
        async with open_client(uri, options) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def versions_until_flipped(stub: StubServer, open_at: Callable[[Callable[[], float]], ModelClient]) -> list[str]:
    """The versions that a client names: before the model is flipped to version 2, and until the client has seen that.

    Args:
        stub: The server of version 1.
        open_at: Makes a client that reads the version every 5 s, by the clock that it is given.
    """
    now = 0.0
    one_row = {"x": np.ones((1, 3), np.float32)}

    async def run() -> list[str]:
        nonlocal now
        async with open_at(lambda: now) as client:
            versions = [(await client.metadata(TIMEOUT_S)).version]
            stub.model.flip(2)
            for elapsed_s in (4.9, 5.0):
                now = elapsed_s
                versions.append((await client.predict(one_row, 1, TIMEOUT_S)).version)
            async with asyncio.timeout(TIMEOUT_S):
                while versions[-1] != "2":
                    versions.append((await client.predict(one_row, 1, TIMEOUT_S)).version)
        return versions

    return asyncio.run(run())


def ask(uri: str, *rows: object, options: ClientOptions) -> Answer:
    """Returns the answer to one request of JSON rows."""
    return use(uri, lambda client: client.predict(as_instances(rows), len(rows), TIMEOUT_S), options)
