"""Asks a client for rows, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.wire.json_rows import as_instances
from transforms.testing.contract import TIMEOUT_S
from transforms.types import Answer

T = TypeVar("T")


def use(uri: str, work: Callable[[ModelClient], Awaitable[T]], options: ClientOptions) -> T:
    """Returns what comes of work with a client that has read its metadata."""

    async def run() -> T:
        async with open_client(uri, options) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def ask(uri: str, *rows: object, options: ClientOptions) -> Answer:
    """Returns the answer to one request of JSON rows."""
    return use(uri, lambda client: client.predict(as_instances(rows), len(rows), TIMEOUT_S), options)
