"""Serves the tests' models with the Triton of nvidia-pytriton; runs in its environment, without this project.

python triton_models.py HTTP_PORT GRPC_PORT
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from pytriton.decorators import batch  # type: ignore[import-not-found]  # only there
from pytriton.model_config import DynamicBatcher, ModelConfig, QueuePolicy, Tensor  # type: ignore[import-not-found]  # only there
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]  # only there

POISON = -999.0
MAX_BATCH = 16
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


@batch
def half_plus_two(x: np.ndarray) -> dict[str, np.ndarray]:
    """y = 0.5 * x + 2; a row that holds -999 fails."""
    if (x == POISON).any():
        raise ValueError("a row is poison")
    return {"y": np.float32(0.5) * x + np.float32(2)}


@batch
def shout(words: np.ndarray) -> dict[str, np.ndarray]:
    """Text in upper case: BYTES in, BYTES out."""
    loud = [word.upper() for word in words.ravel().tolist()]
    return {"loud": np.array(loud, dtype=object).reshape(words.shape)}


@batch
def echo(**inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Every input as an output."""
    return {f"{name}_out": values for name, values in inputs.items()}


@batch
def slow_half_plus_two(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same after 0.2 s, for a queue to fill."""
    time.sleep(0.2)
    return {"y": np.float32(0.5) * x + np.float32(2)}


def main() -> None:
    """Serves until it is stopped."""
    http_port, grpc_port = map(int, sys.argv[1:])
    where: dict[str, Any] = {"http_address": "127.0.0.1", "grpc_address": "127.0.0.1"}
    config = TritonConfig(
        **where, http_port=http_port, grpc_port=grpc_port, allow_metrics=False, exit_timeout_secs=2, log_verbose=0
    )
    # No delay: a request alone is answered at once.
    batching = ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    short_queue = DynamicBatcher(default_queue_policy=QueuePolicy(max_queue_size=1))
    crowded = ModelConfig(max_batch_size=MAX_BATCH, batcher=short_queue)
    x, y = Tensor(name="x", dtype=np.float32, shape=(4,)), Tensor(name="y", dtype=np.float32, shape=(4,))
    words, loud = Tensor(name="words", dtype=bytes, shape=(1,)), Tensor(name="loud", dtype=bytes, shape=(1,))
    given = [Tensor(name=name, dtype=np.dtype(name).type, shape=(2,)) for name in DTYPES]
    answered = [Tensor(name=f"{name}_out", dtype=np.dtype(name).type, shape=(2,)) for name in DTYPES]
    with Triton(config=config) as triton:
        triton.bind("half", half_plus_two, inputs=[x], outputs=[y], config=batching)
        triton.bind("shout", shout, inputs=[words], outputs=[loud], config=batching)
        triton.bind("echo", echo, inputs=given, outputs=answered, config=batching)
        triton.bind("crowded", slow_half_plus_two, inputs=[x], outputs=[y], config=crowded)
        triton.serve()


if __name__ == "__main__":
    main()
