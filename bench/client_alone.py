"""The most that a model server gives: a protocol's client alone, without Kafka and without Beam, always the same batch.

    python -m bench.client_alone URI [--rows 64] [--in_flight 16] [--seconds 5]

Prints rows a second. What the pipeline reaches of this is what everything around the request costs.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import numpy as np

from transforms.clients import open_client
from transforms.codecs import UNKNOWN_INPUT
from transforms.types import Signature

WIDTH = 4
TIMEOUT_S = 30.0


async def rows_per_second(uri: str, rows: int, in_flight: int, seconds: float) -> float:
    """Sends batches of ``rows`` rows of 4 floats (fewer where the server's own limit is lower), so many at a time."""
    client = open_client(uri)
    try:
        model = await client.metadata(TIMEOUT_S)
        rows = min(rows, model.max_rows or rows)
        inputs = _inputs(model.signature, rows)
        answered = 0
        stop_at = time.perf_counter() + seconds

        async def ask() -> None:
            nonlocal answered
            while time.perf_counter() < stop_at:
                await client.predict(inputs, rows, TIMEOUT_S)
                answered += rows

        await client.predict(inputs, rows, TIMEOUT_S)  # the first one connects
        began = time.perf_counter()
        stop_at = began + seconds
        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return answered / (time.perf_counter() - began)
    finally:
        await client.close()


def _inputs(signature: Signature, rows: int) -> dict[str, np.ndarray]:
    values = np.arange(rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH)
    if signature.known:
        return {next(iter(signature.inputs)): values}
    objects = np.empty(rows, object)
    objects[:] = values.tolist()
    return {UNKNOWN_INPUT: objects}


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.client_alone")
    parser.add_argument("uri")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--in_flight", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    print(f"{asyncio.run(rows_per_second(args.uri, args.rows, args.in_flight, args.seconds)):.1f}")


if __name__ == "__main__":
    main()
