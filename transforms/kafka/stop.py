"""When reading ends: after a number of records, at end offsets, at a time, or by a request to drain.

Every condition is checked between bundles only, when all records read are committed. Stopping never cuts a bundle.
"""

from __future__ import annotations

import dataclasses
import fcntl
import mmap
import os
import struct
import threading
import time
from pathlib import Path
from typing import Protocol

from transforms.kafka.config import Partition


@dataclasses.dataclass(frozen=True, slots=True)
class StopConditions:
    """What ends the job; with none of them it runs until it is drained.

    Attributes:
        max_records: Answer so many records, then stop.
        end_offsets: Partition to its end offset, before which reading stops (``--until_end``: the ends at the start).
            Nothing is read of other partitions.
        pending: Partitions of ``end_offsets`` whose end the group has not committed yet. When it has, the job ends.
        deadline_s: Seconds since the epoch.
        budget_file: Where the workers of one job share ``max_records``; ``None`` for a single worker.
        worker: This worker's index in that file.
    """

    max_records: int | None = None
    end_offsets: tuple[tuple[Partition, int], ...] | None = None
    pending: tuple[Partition, ...] = ()
    deadline_s: float | None = None
    budget_file: str | None = None
    worker: int = 0

    def of_shard(self, shard: int, shards: int) -> StopConditions:
        """The same for one shard of a static assignment, which ends at its own partitions' ends."""
        ours = tuple(partition for partition in self.pending if partition[1] % shards == shard)
        return dataclasses.replace(self, pending=ours)


class Budget(Protocol):
    """How many records may still be read."""

    def reserve(self, wanted: int) -> int:
        """Reserves up to ``wanted`` records; returns how many."""

    def release(self, used: int) -> None:
        """The bundle is over: ``used`` of what was reserved are committed, the rest is free again."""

    def spent(self) -> bool:
        """Whether all of it is committed, by whichever worker."""


class LocalBudget:
    """A budget of one process."""

    def __init__(self, records: int):
        self._left, self._reserved = records, 0

    def reserve(self, wanted: int) -> int:
        """As ``Budget.reserve``."""
        granted = min(wanted, self._left)
        self._left -= granted
        self._reserved += granted
        return granted

    def release(self, used: int) -> None:
        """As ``Budget.release``."""
        self._left += self._reserved - used
        self._reserved = 0

    def spent(self) -> bool:
        """As ``Budget.spent``."""
        return self._left == 0 and self._reserved == 0


class SharedBudget:
    """A budget of several processes: a mapped file with two numbers a worker (reserved, used), under a file lock.

    A worker that is killed leaves its reservation behind; its successor, of the same index, clears it on opening the file.
    A commit that was made but not yet counted before a kill is not counted: up to one bundle more is then answered.
    """

    _SLOT = struct.Struct("<qq")

    def __init__(self, path: str | Path, records: int, worker: int, workers: int | None = None):
        self._records, self._worker = records, worker
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if workers is not None:
            os.ftruncate(self._file, self._SLOT.size * workers)
        self._map = mmap.mmap(self._file, os.fstat(self._file).st_size)
        self._workers = len(self._map) // self._SLOT.size
        self.release(0)

    def reserve(self, wanted: int) -> int:
        """As ``Budget.reserve``."""
        with self._locked():
            free = self._records - sum(sum(self._slot(index)) for index in range(self._workers))
            granted = max(0, min(wanted, free))
            reserved, used = self._slot(self._worker)
            self._SLOT.pack_into(self._map, self._worker * self._SLOT.size, reserved + granted, used)
        return granted

    def release(self, used: int) -> None:
        """As ``Budget.release``."""
        with self._locked():
            before = self._slot(self._worker)[1]
            self._SLOT.pack_into(self._map, self._worker * self._SLOT.size, 0, before + used)

    def spent(self) -> bool:
        """As ``Budget.spent``."""
        with self._locked():
            return sum(self._slot(index)[1] for index in range(self._workers)) >= self._records

    def _slot(self, index: int) -> tuple[int, int]:
        reserved, used = self._SLOT.unpack_from(self._map, index * self._SLOT.size)
        return reserved, used

    def _locked(self) -> _Locked:
        return _Locked(self._file)


class _Locked:
    def __init__(self, file: int):
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc_info: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


_draining = threading.Event()


def request_drain() -> None:
    """Asks every source of this process to stop reading; what is in flight is finished and committed."""
    _draining.set()


def draining() -> bool:
    """Whether a drain was asked for."""
    return _draining.is_set()


def reset_drain() -> None:
    """Forgets a request to drain, for the next job in the same process."""
    _draining.clear()


def time_is_up(conditions: StopConditions) -> bool:
    """Whether ``deadline_s`` has passed."""
    return conditions.deadline_s is not None and time.time() >= conditions.deadline_s
