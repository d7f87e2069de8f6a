"""Processes that tests look at by their ids."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable
from pathlib import Path

END_S = 120.0
"""How long a process may take to end that has to: only a fault lasts longer."""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(pids: Iterable[int], timeout_s: float = END_S) -> bool:
    """Waits for the end of processes, which need not be children; returns whether it came to it (Linux)."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it is gone already
            descriptor = os.pidfd_open(pid)
            try:
                if not select.select([descriptor], [], [], timeout_s)[0]:
                    return False
            finally:
                os.close(descriptor)
    return True


def family(pid: int) -> set[int]:
    """The process and all that come of it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found
