"""The model in the worker over its stub: what its test modules share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from transforms.clients.saved_model.client import SavedModelClient
from transforms.testing.contract import TIMEOUT_S, rows_of
from transforms.testing.saved_model.stub import SavedModelStub
from transforms.types import TensorSpec

T = TypeVar("T")
ROW = rows_of(1)
VECTOR = {"x": TensorSpec("float32", (-1, 2))}


def use(stub: SavedModelStub, work: Callable[[SavedModelClient], Awaitable[T]], uri: str | None = None) -> T:
    """Runs ``work`` with a client that has read the metadata."""

    async def run() -> T:
        async with stub.client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


async def version_of(client: SavedModelClient) -> str:
    """Which version answers."""
    return (await client.predict({"x": ROW}, 1, TIMEOUT_S)).version


async def poll(stub: SavedModelStub) -> None:
    """Looks for another version."""
    await asyncio.to_thread(stub.store.poll)
