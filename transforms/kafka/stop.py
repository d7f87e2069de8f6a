"""``StopConditions``: when reading ends: after a number of records, at end offsets, at a time, or by a request to drain.

The conditions are checked between bundles only, when all records read are committed. So stopping never cuts a bundle.
"""

from __future__ import annotations

import dataclasses
import fcntl
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Protocol

from transforms.kafka.config import Partition


@dataclasses.dataclass(frozen=True, slots=True)
class StopConditions:
    """What ends a job. A job without conditions runs until a drain is requested.

    Attributes:
        max_records: The number of records to answer (``--max_records``).
        end_offsets: Each partition with the offset before which reading stops (``--until_end``: the partition's end offset
            at the start of the job). Other partitions are not read. ``ends.py`` says what holds where a topic is made again.
        pending: The partitions with pending offsets: the group had not committed their end offset when the job started. The
            job ends when it has committed them all.
        drain_at_s: When the job is drained, in seconds since the epoch (``--duration_s``).
        budget_file: The file in which the workers of a job share ``max_records``; ``None`` for a single worker.
        worker: The index of this worker in that file.
        identities: Topic to the identity of the topic that the end offsets are of, as far as it is known.
    """

    max_records: int | None = None
    end_offsets: tuple[tuple[Partition, int], ...] | None = None
    pending: tuple[Partition, ...] = ()
    drain_at_s: float | None = None
    budget_file: str | None = None
    worker: int = 0
    identities: tuple[tuple[str, str], ...] = ()


class Budget(Protocol):
    """The number of records that may still be read, of ``max_records``."""

    def reserve(self, wanted: int) -> int:
        """Reserves records before they are read.

        Args:
            wanted: The number of records to reserve.

        Returns:
            The number of records reserved: ``wanted``, or fewer if the budget has fewer left.
        """

    def release(self, used: int, kept: int = 0) -> None:
        """Ends the reservations of this process; called when its last bundle was committed or rolled back.

        Args:
            used: The number of records committed since the last call. They are spent; the rest is free again.
            kept: The number of records that stay reserved: they are carried over into the next bundle.
        """

    def spent(self) -> bool:
        """Returns whether the whole budget is committed, by all workers together."""


class LocalBudget:
    """The budget of a job with one worker.

    Args:
        records: The number of records of the whole budget.
    """

    def __init__(self, records: int):
        self._left, self._reserved = records, 0

    def reserve(self, wanted: int) -> int:
        """As ``Budget.reserve``."""
        granted = min(wanted, self._left)
        self._left -= granted
        self._reserved += granted
        return granted

    def release(self, used: int, kept: int = 0) -> None:
        """As ``Budget.release``."""
        self._left += self._reserved - used - kept
        self._reserved = kept

    def spent(self) -> bool:
        """As ``Budget.spent``."""
        return self._left == 0 and self._reserved == 0


class SharedBudget:
    """The budget of a job with several workers: a mapped file with three counts per worker, and a file lock.

    The counts: records reserved, records used, and whether the worker waits because the others had reserved the rest. One
    with nothing to read would reserve the rest again and again, and keep it from the one whose partitions have it. So a
    worker that has used nothing lets those that wait go first.

    A worker that is killed leaves its reservation in the file. The next worker of the same index clears it when it opens the
    file. If a worker is killed after a commit and before it counts the records, they are not counted, and the job may answer
    up to one bundle more.

    Args:
        path: The file.
        records: The number of records of the whole budget.
        worker: The index of this worker in the file.
        workers: The number of workers, to create the file; ``None`` opens an existing file.
    """

    _COUNTS = struct.Struct("<qqq")
    _TURNS = 3
    """How many reservations a worker leaves out for those that wait, in case one of them is gone."""

    def __init__(self, path: str | Path, records: int, worker: int, workers: int | None = None):
        self._records, self._worker = records, worker
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if workers is not None:
            os.ftruncate(self._file, self._COUNTS.size * workers)
        self._map = mmap.mmap(self._file, os.fstat(self._file).st_size)
        self._workers = len(self._map) // self._COUNTS.size
        self._yields = 0
        with self._locked():
            self._set(0, self._counts(worker)[1], waits=False)

    def reserve(self, wanted: int) -> int:
        """As ``Budget.reserve``."""
        with self._locked():
            counts = [self._counts(index) for index in range(self._workers)]
            reserved, used, _ = counts[self._worker]
            if self._yields and any(waits for index, (_, _, waits) in enumerate(counts) if index != self._worker):
                self._yields -= 1
                granted = 0
            else:
                self._yields = 0
                granted = max(0, min(wanted, self._records - sum(its + spent for its, spent, _ in counts)))
            self._set(reserved + granted, used, waits=not granted)
        return granted

    def release(self, used: int, kept: int = 0) -> None:
        """As ``Budget.release``."""
        with self._locked():
            reserved, before, waits = self._counts(self._worker)
            if reserved:
                self._yields = 0 if used or kept else self._TURNS
            self._set(kept, before + used, waits=bool(waits))

    def spent(self) -> bool:
        """As ``Budget.spent``."""
        with self._locked():
            return sum(self._counts(index)[1] for index in range(self._workers)) >= self._records

    def _counts(self, index: int) -> tuple[int, int, int]:
        reserved, used, waits = self._COUNTS.unpack_from(self._map, index * self._COUNTS.size)
        return reserved, used, waits

    def _set(self, reserved: int, used: int, *, waits: bool) -> None:
        self._COUNTS.pack_into(self._map, self._worker * self._COUNTS.size, reserved, used, waits)

    def _locked(self) -> _Locked:
        return _Locked(self._file)


class _Locked:
    def __init__(self, file: int):
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc_info: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


@dataclasses.dataclass(slots=True)
class _Drain:
    """Set by a signal handler, so no ``threading.Event``: the thread that is interrupted may hold its lock."""

    requested: bool = False


_drain = _Drain()


def request_drain() -> None:
    """Requests a drain: every source of this process stops reading, and records in flight are answered and committed."""
    _drain.requested = True


def draining() -> bool:
    """Returns whether a drain was requested."""
    return _drain.requested


def reset_drain() -> None:
    """Clears the request to drain, for the next job in the same process."""
    _drain.requested = False


def stopping(conditions: StopConditions) -> bool:
    """Returns whether to read no more, whatever is left to read."""
    return draining() or time_is_up(conditions)


def time_is_up(conditions: StopConditions) -> bool:
    """Returns whether the time to drain, ``drain_at_s``, has come."""
    return conditions.drain_at_s is not None and time.time() >= conditions.drain_at_s
