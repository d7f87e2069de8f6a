"""``usable_cores``: how much processor time this process may take, and ``fitting_workers``: how many processes fill it.

A container's limit of processor time (Kubernetes' ``limits.cpu``, ``docker run --cpus``) hides no core: ``os.cpu_count()``
and the affinity tell the machine's. It is a quota of the control group, which both versions of Linux' control groups keep in
files (Linux: Documentation/admin-guide/cgroup-v2.rst, ``cpu.max``; scheduler/sched-bwc.rst, ``cpu.cfs_quota_us``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
MOUNTED = Path("/sys/fs/cgroup")

SPARED = 1
"""Cores that are left to the threads of librdkafka and gRPC: a worker's own thread fills one in a backlog."""


def fitting_workers(cores: float, partitions: int) -> int:
    """Returns how many workers to start: one a core but for ``SPARED``, none without a partition; at least one.

    Args:
        cores: As ``usable_cores``.
        partitions: Of all input topics.
    """
    return max(1, min(partitions, int(cores) - SPARED))


def usable_cores(groups: Path = GROUPS, mounted: Path = MOUNTED) -> float:
    """Returns the cores that this process may run on, or the quota of its control groups if that is less.

    Args:
        groups: The list of the control groups that it is in.
        mounted: Where they are mounted.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([float(cores), *_quotas(groups, mounted)])


def _quotas(groups: Path, mounted: Path) -> Iterator[float]:
    for line in _read(groups).splitlines():
        number, controllers, path = line.split(":", 2)
        if (number, controllers) == ("0", ""):  # version 2
            limits = [_read(folder / "cpu.max").split() for folder in _upwards(mounted, path)]
        elif "cpu" in controllers.split(","):  # version 1
            folders = _upwards(mounted / controllers, path)
            limits = [
                [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
                for folder in folders
            ]
        else:
            continue
        for quota, period in (limit for limit in limits if len(limit) == 2):
            if quota.isdecimal() and period.isdecimal() and int(period):  # none: "max" in version 2, -1 in version 1
                yield int(quota) / int(period)


def _upwards(root: Path, path: str) -> list[Path]:
    """The folder of a control group and of those above it, each of which limits it. In a container its own is the root."""
    folder = root / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # it is not mounted here, or there are no such groups
        return ""
