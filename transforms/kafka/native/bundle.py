"""``Bundle``: the records between source and sink. ``Commit``: the commit of a bundle, under way."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

from transforms.kafka.config import Partition
from transforms.types import KafkaRecord, OutputRecord

_PARTITION_OF = operator.itemgetter(0, 1)
_OFFSET_OF = operator.itemgetter(2)


@dataclasses.dataclass(slots=True)
class Bundle:
    """Records on their way from source to sink, and what of them is to be committed.

    Attributes:
        first: Partition to the first offset read: a rollback seeks to it.
        next: Partition to the offset after the last one read: a commit commits it.
        reads: When records came and how many, a pair a poll.
        read: How many records in all.
        group: The group metadata at the first poll; ``None`` before it.
        rebalanced: Whether the group rebalanced since then.
        void_because: Why this bundle can't be committed, in the state ``VOID``.
        outcome_unknown: Whether the commit of the bundle before may have gone through or not.
        buffered: Outputs not yet handed to the producer.
        written: How many outcomes came back.
        dead: Error class to how many of them are dead letters.
    """

    first: dict[Partition, int] = dataclasses.field(default_factory=dict)
    next: dict[Partition, int] = dataclasses.field(default_factory=dict)
    reads: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    read: int = 0
    group: Any = None
    rebalanced: bool = False
    void_because: str = ""
    outcome_unknown: bool = False
    buffered: list[OutputRecord] = dataclasses.field(default_factory=list)
    written: int = 0
    dead: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def note(self, records: Sequence[KafkaRecord]) -> None:
        """Notes the offsets of records just read, of a partition in their order."""
        last = dict(zip(map(_PARTITION_OF, records), map(_OFFSET_OF, records), strict=True))
        for partition, offset in last.items():
            if partition not in self.next:
                first = next(record[2] for record in records if (record[0], record[1]) == partition)
                self.first.setdefault(partition, first)  # after a failed commit it may be lower already
            self.next[partition] = offset + 1

    def drop(self, records: Sequence[KafkaRecord]) -> dict[Partition, int]:
        """Takes the last records of some partitions out again.

        Returns:
            Partition to the first offset dropped.
        """
        dropped: dict[Partition, int] = {}
        for record in records:
            dropped.setdefault((record.topic, record.partition), record.offset)
        for partition, offset in dropped.items():
            self.next[partition] = offset
            if self.first[partition] >= offset:
                self.forget(partition)
        self.read -= len(records)
        return dropped

    def forget(self, partition: Partition) -> None:
        """Neither commits nor rewinds a partition that was taken away."""
        self.first.pop(partition, None)
        self.next.pop(partition, None)


@dataclasses.dataclass(slots=True)
class Commit:
    """A commit under way; its result is when it was done."""

    bundle: Bundle
    offsets: dict[Partition, int]
    done_at: concurrent.futures.Future[float]

    def forget(self, partition: Partition) -> None:
        """Another member may have gone on from this commit: neither count it as ours, nor rewind to before it."""
        self.bundle.forget(partition)
        self.offsets.pop(partition, None)


def at_once(call: Callable[[], float]) -> concurrent.futures.Future[float]:
    """Runs a commit here and now, as an executor would elsewhere."""
    done: concurrent.futures.Future[float] = concurrent.futures.Future()
    try:
        done.set_result(call())
    except Exception as error:  # noqa: BLE001  # it is raised again by result(), as if it had run elsewhere
        done.set_exception(error)
    return done
