"""``Commits``: what a session has committed, and the commit that it has under way."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from transforms.kafka.config import Partition
from transforms.kafka.native.bundle import Bundle

OVERLAP_FROM = 2048
"""The commit of a bundle of so many records overlaps with reading the next. Smaller bundles would make more transactions."""


@dataclasses.dataclass(slots=True)
class Commit:
    """A commit in progress.

    Attributes:
        bundle: The bundle that is committed.
        offsets: Partition to the offset that is committed.
        done_at: The time when the commit ended, in seconds of the session's clock; or the error that it raised.
    """

    bundle: Bundle
    offsets: dict[Partition, int]
    done_at: concurrent.futures.Future[float]

    def forget(self, partition: Partition) -> None:
        """Removes a partition that was revoked or lost.

        Another member may have continued from this commit. So the offset no longer counts as this session's position, and a
        rollback must not seek to before it.
        """
        self.bundle.forget(partition)
        self.offsets.pop(partition, None)


def at_once(call: Callable[..., float], *arguments: Any) -> concurrent.futures.Future[float]:
    """Calls ``call`` in this thread, and returns its result or exception as a finished future."""
    done: concurrent.futures.Future[float] = concurrent.futures.Future()
    try:
        done.set_result(call(*arguments))
    except Exception as error:  # noqa: BLE001  # result() raises it, as with an executor
        done.set_exception(error)
    return done


class Commits:
    """The commits of one session.

    Args:
        background: Runs commits that overlap with reading, one at a time.
        overlap_from: The number of records from which on a bundle's commit overlaps.

    Attributes:
        underway: The commit in progress; there is at most one.
        offsets: Partition to the offset that was last committed, of partitions that are still owned.
    """

    def __init__(self, background: concurrent.futures.Executor | None = None, overlap_from: int = OVERLAP_FROM):
        self._background = background or concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._overlap_from = overlap_from
        self.underway: Commit | None = None
        self.offsets: dict[Partition, int] = {}
        self._count = 0

    def begin(
        self, bundle: Bundle, offsets: dict[Partition, int], make_final: Callable[..., float], *arguments: Any
    ) -> bool:
        """Begins a commit: that of a large bundle in the background.

        Args:
            bundle: The bundle that is committed.
            offsets: Partition to the offset that is committed.
            make_final: Commits; returns the time when that is done. Its result or error is that of ``underway``.
            arguments: What it is called with.

        Returns:
            Whether it goes on in the background.
        """
        overlaps = bundle.read >= self._overlap_from
        run = self._background.submit if overlaps else at_once
        self.underway = Commit(bundle, offsets, run(make_final, *arguments))
        return overlaps

    def close(self, *, wait: bool = True) -> None:
        """Takes no more commits. Does not wait for the one in progress, nor begin it, unless ``wait``."""
        self._background.shutdown(wait=wait, cancel_futures=not wait)

    def position(self, partition: Partition) -> int:
        """Returns the committed offset of ``partition``, or the offset of the commit in progress; -1 if neither is known."""
        underway = self.underway.offsets.get(partition, -1) if self.underway is not None else -1
        return max(underway, self.offsets.get(partition, -1))

    def offsets_of(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Returns what was last committed of these partitions; one without a commit is left out."""
        return {partition: offset for partition, offset in self.offsets.items() if partition in partitions}

    def take_count(self) -> int:
        """Returns the number of records that were committed since the last call.

        Those of a commit of unknown outcome are not among them: what is committed is read again from Kafka, which has
        offsets and no count of records.
        """
        count, self._count = self._count, 0
        return count

    def final(self, commit: Commit) -> None:
        """Notes that a commit, which is no longer under way, is final."""
        self.offsets.update(commit.offsets)
        self._count += commit.bundle.read

    def forget(self, partition: Partition) -> None:
        """Forgets a partition that was revoked or lost: see ``Commit.forget``."""
        self.offsets.pop(partition, None)
        if self.underway is not None:
            self.underway.forget(partition)
