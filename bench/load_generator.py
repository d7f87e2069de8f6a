"""A plain load generator: measures how many rows a second a model server answers.

    python -m bench.load_generator URI [--rows 64] [--in_flight 16] [--seconds 5]

It records one request of our client for a batch (``recorded.py``), and sends its bytes again and again, ``--in_flight`` at a
time. It checks only the status of the answers. Prints rows a second.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import numpy as np

from bench.recorded import LIMIT, Request, forwarding, read_message
from transforms.clients import open_client
from transforms.formats.codecs import UNKNOWN_INPUT
from transforms.types import Signature

WIDTH = 4
TIMEOUT_S = 30.0


async def rows_per_second(uri: str, rows: int, in_flight: int, seconds: float) -> float:
    """Sends batches of ``rows`` rows of 4 floats (fewer if the server's limit is lower), ``in_flight`` at a time."""
    request, rows = await _record(uri, rows)
    answered = 0
    ask, close = _over_grpc(request, in_flight) if request.method else await _over_http(request, in_flight)

    async def go_on(worker: int) -> None:
        nonlocal answered
        while time.perf_counter() < stop_at:
            await ask(worker)
            answered += rows

    try:
        await asyncio.gather(*(ask(worker) for worker in range(in_flight)))  # the first ones connect
        began = time.perf_counter()
        stop_at = began + seconds
        await asyncio.gather(*(go_on(worker) for worker in range(in_flight)))
        return answered / (time.perf_counter() - began)
    finally:
        await close()


async def _record(uri: str, rows: int) -> tuple[Request, int]:
    async with forwarding(uri) as (address, request), open_client(address) as client:
        model = await client.metadata(TIMEOUT_S)
        rows = min(rows, model.max_rows or rows)
        await client.predict(_inputs(model.signature, rows), rows, TIMEOUT_S)
    return request, rows


def _inputs(signature: Signature, rows: int) -> dict[str, np.ndarray]:
    values = np.arange(rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH)
    if signature.known:
        return {next(iter(signature.inputs)): values}
    objects = np.empty(rows, object)
    objects[:] = values.tolist()
    return {UNKNOWN_INPUT: objects}


Ask = Callable[[int], Awaitable[None]]
Close = Callable[[], Awaitable[None]]


def _over_grpc(request: Request, in_flight: int) -> tuple[Ask, Close]:
    channel = grpc.aio.insecure_channel(request.target, options=[("grpc.max_receive_message_length", LIMIT)])
    call = channel.unary_unary(request.method)  # bytes in, bytes out

    async def ask(_: int) -> None:
        await call(request.data, metadata=request.metadata, timeout=TIMEOUT_S)

    return ask, channel.close


async def _over_http(request: Request, in_flight: int) -> tuple[Ask, Close]:
    host, _, port = request.target.rpartition(":")
    connections = [await asyncio.open_connection(host, int(port), limit=LIMIT) for _ in range(in_flight)]

    async def ask(worker: int) -> None:
        reader, writer = connections[worker]
        writer.write(request.data)
        answer = await asyncio.wait_for(read_message(reader), TIMEOUT_S)
        if b" 200 " not in answer[:20]:
            raise RuntimeError(f"the server answered {answer[:60]!r}")

    async def close() -> None:
        for _, writer in connections:
            writer.close()

    return ask, close


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.load_generator")
    parser.add_argument("uri")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--in_flight", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    print(f"{asyncio.run(rows_per_second(args.uri, args.rows, args.in_flight, args.seconds)):.1f}")


if __name__ == "__main__":
    main()
