"""Asks a model server for its metadata: once, or until it answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.clients.registry import read_metadata
from transforms.errors import TransientError, UnavailableError
from transforms.guard import CHECK_S, BundleGuard
from transforms.observe import observer, waits, waits_no_more
from transforms.predict.options import HOLD, DispatchOptions
from transforms.predict.request_loop import run_here
from transforms.retry import Deadline, Retries
from transforms.types import ModelMetadata


def ask_model(uri: str, client: ClientOptions | None, timeout_s: float) -> ModelMetadata:
    """Asks once, in this thread.

    Args:
        uri: The model's URI.
        client: Options of the client.
        timeout_s: How long to wait for the answer, in seconds.

    Raises:
        UnavailableError: No server answers in time.
        NotServedError: The model, version or signature is not there.
        ConfigError: The URI or an option can't be used, or the client has a mistake.
    """

    async def ask() -> ModelMetadata:
        async with open_client(uri, client) as model:
            return await read_metadata(uri, model, timeout_s)

    return run_here(ask())


def ask_until_served(
    uri: str,
    client: ClientOptions | None,
    options: DispatchOptions,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    rng: random.Random | None = None,
    guard: BundleGuard | None = None,
) -> ModelMetadata:
    """Asks until the server answers, with the retry rules of a request.

    Args:
        uri: The model's URI.
        client: Options of the client.
        options: Time-out and retries. With ``on_unavailable=hold`` it waits without end.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
        rng: Randomness for the jitter.
        guard: Keeps the source alive while waiting.

    Raises:
        UnavailableError: No server answers before the deadline, and ``on_unavailable`` is not ``hold``; or the waiting
            bundle can no longer be committed.
        NotServedError: The model, version or signature is not there.
        ConfigError: The URI or an option can't be used, or the client has a mistake.
    """
    rng = rng or random.Random()

    async def wait(delay_s: float) -> None:
        for pause_s in Deadline(delay_s, clock).pauses(CHECK_S if guard is not None else delay_s):
            if guard is not None and not guard.keep_alive(True):
                raise UnavailableError("the model server is down, and the bundle that waits for it was given up")
            await sleep(pause_s)

    async def ask() -> ModelMetadata:
        retries = Retries(options.retry, clock, rng)
        async with open_client(uri, client) as model:
            while True:
                try:
                    return await read_metadata(uri, model, options.request_timeout_s)
                except TransientError as error:
                    retries.failed += 1
                    if retries.exhausted:
                        if options.on_unavailable != HOLD:
                            raise UnavailableError(f"the model server is down: {error}") from error
                        waits(ask, f"the model server: {error}")
                    observer().retried()
                    await wait(retries.delay_s(error.retry_after_s))

    try:
        return run_here(ask())
    finally:
        waits_no_more(ask)
