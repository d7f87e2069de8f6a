"""Makes Python's cyclic garbage collector run rarely while modules are loaded and while a bundle is open.

A collection visits every object that is not frozen, and holds the GIL meanwhile. By default a collection starts after a few
hundred new objects. But modules' objects are permanent, and records are tuples without cycles, which reference counting
frees. So nearly all of these collections would find nothing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

THRESHOLDS = (500_000, 20, 100)
"""Thresholds of the garbage collector: net new objects before a collection of the youngest generation, and so on. A large
bundle stays below the first. We collect between bundles instead."""

COLLECT_S = 2.0
"""Least number of seconds between two such collections."""

SHARE = 0.005
"""Most of the time that they may take. In a backlog a large bundle's objects are always there, and one takes 70 ms."""


def rest_while_loading() -> None:
    """Makes collections rare from now on. Called before the program's modules are loaded: it saves a tenth of that time."""
    gc.set_threshold(*THRESHOLDS)


def spare_the_collector() -> None:
    """Makes collections rare, and freezes the objects of all modules that are loaded now, so that collections skip them.

    Measured: 47,000 to 65,000 records/s with frozen modules and a threshold of 50,000; 88,000 to 101,000 records/s with a
    threshold that a bundle does not reach.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


class Collecting:
    """Collects what bundles have left, every ``COLLECT_S`` seconds, or less often so that it takes no more than ``SHARE``.

    Args:
        clock: Seconds, to tell how long one took.
        collect: Collects.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, collect: Callable[[], object] = lambda: gc.collect(1)):
        self._clock, self._collect = clock, collect
        self._next_at = 0.0

    def between_bundles(self) -> None:
        """Called after each commit: collects if it is time to."""
        began = self._clock()
        if began < self._next_at:
            return
        self._collect()
        done = self._clock()
        self._next_at = done + max(COLLECT_S, (done - began) / SHARE)
