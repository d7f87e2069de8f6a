"""What the tests against real Open Inference Protocol servers share: one client's work, whole batches by the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np

from tests.dispatching import by_row
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.errors import ModelError
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy

TIMEOUT_S = 30.0
PROTOCOLS = ("grpc", "http")
POISON = -999.0


def use(uri: str, work: Callable[[ModelClient], Awaitable[Any]]) -> Any:
    """Runs ``work`` with a client that has read the metadata."""

    async def run() -> Any:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def metadata(uri: str) -> Any:
    return use(uri, lambda client: client.metadata(TIMEOUT_S))


def predict(uri: str, inputs: Mapping[str, np.ndarray], rows: int) -> Any:
    return use(uri, lambda client: client.predict(inputs, rows, TIMEOUT_S))


def error_of(uri: str, inputs: Mapping[str, np.ndarray] | None = None, rows: int = 1) -> ModelError:
    """The error of a prediction, or of the metadata if no inputs are given."""
    try:
        answer = metadata(uri) if inputs is None else predict(uri, inputs, rows)
    except ModelError as error:
        return error
    raise AssertionError(f"no error, but {answer}")


def x_of(rows: int) -> np.ndarray:
    """x [rows, 4], every number different."""
    return np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)


def dispatched(uri: str, x: np.ndarray, deadline_s: float = 0.3) -> list[Any]:
    """What becomes of every row by way of the dispatcher: the first number of its y, or the class of its failure."""

    async def run() -> list[Any]:
        client = open_client(uri)
        signature = (await client.metadata(TIMEOUT_S)).signature
        dispatcher = Dispatcher(client, signature, DispatchOptions(TIMEOUT_S, RetryPolicy(deadline_s, cap_s=0.1)))
        try:
            async with asyncio.timeout(60):
                return by_row(await dispatcher.answer({"x": x}, len(x)), len(x))
        finally:
            await dispatcher.close()

    return asyncio.run(run())


def expected(x: np.ndarray, failures: Mapping[int, str]) -> list[Any]:
    """What ``dispatched`` should return: y = 0.5 * x + 2, but for the rows that fail."""
    return [failures.get(row, 0.5 * float(values[0]) + 2) for row, values in enumerate(x)]
