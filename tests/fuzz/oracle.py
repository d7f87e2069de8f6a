"""What must hold of whatever is read: no exception but the documented ones, bounded memory, bounded time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

MOST_CPU_S = 10.0
"""Of one input; no more than 64 KB. Hundred times of what the slowest takes, as the fuzzer's machine is busy."""


class FindingError(AssertionError):
    """What was read breaks a promise."""


@contextlib.contextmanager
def allowed(*documented: type[Exception]) -> Iterator[None]:
    """Lets the documented exceptions pass, and measures the processor's time of this thread."""
    began = time.thread_time()
    with contextlib.suppress(*documented):
        yield
    took_s = time.thread_time() - began
    if took_s > MOST_CPU_S:
        raise FindingError(f"took {took_s:.1f} s of one processor")


def must(holds: bool, what: str) -> None:
    """Raises ``FindingError`` unless it holds."""
    if not holds:
        raise FindingError(what)


def weight(value: Any) -> int:
    """The bytes of memory of what was read: JSON-like values and arrays."""
    total, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, np.ndarray):
            total += part.size * max(part.itemsize, 1)
            waiting += part.ravel().tolist() if part.dtype == object else []
            continue
        total += sys.getsizeof(part)
        if isinstance(part, dict):
            waiting += part.values()
            total += sum(map(sys.getsizeof, part))
        elif isinstance(part, list | tuple):
            waiting += part
    return total
