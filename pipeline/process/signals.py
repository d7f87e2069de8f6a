"""What ends a process: signals that drain it, and the death of its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable


def drain_on_signals(on_first: Callable[[], None], on_second: Callable[[], None] = lambda: None) -> None:
    """The first SIGINT or SIGTERM drains; a second one ends the process at once.

    Args:
        on_first: Begins the drain. Called in the signal handler, in the middle of whatever the main thread does: it must not
            wait for a lock.
        on_second: Called before that end, such as to put back the terminal.
    """
    seen = False  # no threading.Event: a second signal may interrupt the handler of the first one while it holds the lock

    def handle(number: int, _: object) -> None:
        nonlocal seen
        if seen:
            on_second()
            os._exit(128 + number)  # what is in flight was never committed: it is read again next time
        seen = True
        on_first()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def end_with_parent() -> None:
    """Makes the kernel send SIGTERM to this process when its parent dies (Linux), so that it drains."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)
