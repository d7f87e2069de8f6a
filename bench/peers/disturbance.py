"""How much of the machine's processor time went to others: a run that they disturbed is seen, and repeated."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait, in /proc/stat's first line


class Watch:
    """From its construction on: the processor time of this process, of its descendants, and of all others."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_s(), own_s()

    def others(self) -> float:
        """The share of the machine that others have used since: 0 to 1."""
        elapsed = time.monotonic() - self._began
        used = (_busy_s() - self._busy) - (own_s() - self._own)
        return max(0.0, used / max(1e-9, elapsed * (os.cpu_count() or 1)))


def _busy_s() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(value for index, value in enumerate(fields) if index not in _IDLE) / _TICKS


def own_s() -> float:
    """Returns the processor time of this process and of its descendants, those that have ended and those that run."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    processes = _processes()
    below = {os.getpid()}
    for pid in sorted(processes):  # a child is younger than its parent, but for numbers that begin anew
        parent, used_s = processes[pid]
        if parent in below and pid not in below:
            below.add(pid)
            total += used_s
    return total


def _processes() -> Mapping[int, tuple[int, float]]:
    """Process id to its parent and the seconds of it and of its children that have ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has ended
        fields = text.rpartition(")")[2].split()
        found[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)
    return found
