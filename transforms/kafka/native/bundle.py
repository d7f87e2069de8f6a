"""``Bundle``: the records between source and sink, and what becomes of them."""

from __future__ import annotations

import collections
import dataclasses
import operator
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.kafka.config import Partition
from transforms.kafka.native.producer import NotCommittedError
from transforms.observe import DeadLetterKind, RollbackCause, observer
from transforms.types import KafkaRecord, OutputRecord

_PARTITION_OF = operator.itemgetter(0, 1)
_OFFSET_OF = operator.itemgetter(2)
_TIMESTAMP_OF = operator.itemgetter(4)


@dataclasses.dataclass(slots=True)
class Bundle:
    """The records between source and sink, and the offsets that their commit or rollback needs.

    Attributes:
        first: Partition to the first offset read. A rollback seeks to it.
        next: Partition to the offset after the last one read. A commit commits it.
        reads: For each poll, when it returned (seconds of the session's clock) and how many records.
        read: The number of records read.
        group: The consumer group's metadata at the first poll; ``None`` before it.
        rebalanced: Whether the group has rebalanced since the first poll.
        void_because: In the state ``VOID``, why the bundle can't be committed.
        cause: The same, for counting.
        failed: How its write or its commit, or that of the bundle before it, failed.
        before: The bundle before it, if the commit of that one failed: both are rolled back.
        outcome_unknown: Whether the commit of the previous bundle was lost before its result was known.
        outputs: All outputs, until they are committed.
        output_bytes: About what they take.
        buffered: Those of them that were not handed to the producer yet.
        mended: Whether outputs that Kafka refused were replaced. What comes after that waits for the commit.
        may_fail_once: Whether the next failure of the transaction is one that librdkafka makes after a refusal.
        written: The number of outcomes written: predictions and dead letters.
        dead: Stage and class to the number of dead letters.
        transaction_s: How long its transaction was open, once it is committed; ``None`` without transactions.
    """

    first: dict[Partition, int] = dataclasses.field(default_factory=dict)
    next: dict[Partition, int] = dataclasses.field(default_factory=dict)
    reads: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    read: int = 0
    group: Any = None
    rebalanced: bool = False
    void_because: str = ""
    cause: RollbackCause = RollbackCause.STAGE
    failed: NotCommittedError | None = None
    before: Bundle | None = None
    outcome_unknown: bool = False
    outputs: list[OutputRecord] = dataclasses.field(default_factory=list)
    output_bytes: int = 0
    buffered: list[OutputRecord] = dataclasses.field(default_factory=list)
    mended: bool = False
    may_fail_once: bool = False
    written: int = 0
    dead: collections.Counter[DeadLetterKind] = dataclasses.field(default_factory=collections.Counter)
    transaction_s: float | None = None

    def note(self, records: Sequence[KafkaRecord]) -> None:
        """Adds the offsets of records just read; the records of a partition must be in offset order."""
        last = dict(zip(map(_PARTITION_OF, records), map(_OFFSET_OF, records), strict=True))
        for partition, offset in last.items():
            if partition not in self.next:
                first = next(record[2] for record in records if (record[0], record[1]) == partition)
                self.first.setdefault(partition, first)  # after a failed commit it may already hold a lower offset
            self.next[partition] = offset + 1

    def drop(self, records: Sequence[KafkaRecord]) -> dict[Partition, int]:
        """Removes records from the bundle. They must be the last ones read of their partitions.

        Returns:
            Partition to the first offset removed.
        """
        dropped: dict[Partition, int] = {}
        for record in records:
            dropped.setdefault((record.topic, record.partition), record.offset)
        for partition, offset in dropped.items():
            self.next[partition] = offset
            if self.first[partition] >= offset:
                self.forget(partition)
        self.read -= len(records)
        left = len(records)
        while left and self.reads:  # they came with the last polls
            polled_at, count = self.reads.pop()
            if count > left:
                self.reads.append((polled_at, count - left))
            left -= min(count, left)
        return dropped

    def forget(self, partition: Partition) -> None:
        """Removes a partition that was revoked or lost: its offsets are neither committed nor used for a rollback."""
        self.first.pop(partition, None)
        self.next.pop(partition, None)

    def report(self, done_at: float) -> None:
        """Tells the observer that the bundle is committed, since ``done_at`` (seconds of the session's clock)."""
        reads = [(done_at - read_at, count) for read_at, count in self.reads]
        observer().committed(self.written - self.dead.total(), dict(self.dead), reads)
        stamps = np.array(list(map(_TIMESTAMP_OF, self.outputs)), np.float64)  # None becomes NaN
        ages_s = time.time() - stamps[~np.isnan(stamps)] / 1000
        observer().committed_after(np.maximum(ages_s, 0.0), self.transaction_s)  # clocks differ: no age is negative
        observer().written(self.outputs)
