"""``Bundle``: the records between source and sink, and what becomes of them."""

from __future__ import annotations

import collections
import dataclasses
import operator
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transforms.kafka.config import Partition
from transforms.kafka.native.producer import NotCommittedError
from transforms.memory import records_bytes
from transforms.observe import DeadLetterKind, RollbackCause, observer
from transforms.types import KafkaRecord, OutputRecord

_PARTITION_OF = operator.itemgetter(0, 1)
_OFFSET_OF = operator.itemgetter(2)
_TIMESTAMP_OF = operator.itemgetter(4)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """Records that were read at the end of one bundle and are answered in the next one.

    Attributes:
        first: Partition to the first offset of them.
        count: How many they are.
        size: About how many bytes they take.
    """

    first: Mapping[Partition, int]
    count: int
    size: int

    @classmethod
    def of(cls, records: Iterable[KafkaRecord]) -> Carried:
        """Counts records; those of a partition are in offset order."""
        kept = list(records)
        return cls(_first_offsets(kept), len(kept), records_bytes(kept))


NOTHING_CARRIED = Carried({}, 0, 0)


@dataclasses.dataclass(slots=True)
class Bundle:
    """The records between source and sink, and the offsets that their commit or rollback needs.

    Attributes:
        first: Partition to the first offset read. A rollback seeks to it.
        next: Partition to the offset after the last one read. A commit commits it.
        reads: For each poll, when it returned (seconds of the session's clock) and how many records.
        read: The number of records read, and of those carried into it.
        group: The consumer group's metadata at the first poll, also where the bundle before made it; ``None`` before it.
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
        fresh: Whether its source has not begun to read: it holds what is carried into it, and nothing else.
        leaves_more: Whether its reading ended although there is more to read.
        inherited: What is carried into it from the bundle before.
        taken_over: Whether the stage that answers ``inherited`` has come back for it.
        left_over: What is carried out of it into the next bundle.
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
    fresh: bool = False
    leaves_more: bool = False
    inherited: Carried = NOTHING_CARRIED
    taken_over: bool = False
    left_over: Carried = NOTHING_CARRIED

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
        dropped = _first_offsets(records)
        self._cut_off(dropped, len(records))
        return dropped

    def take_over(self, carried: object) -> bool:
        """Notes that the stage that answers ``inherited`` has come back for it; returns whether ``carried`` is that."""
        if self.inherited is not carried:
            return False
        self.taken_over, self.fresh = True, False
        return True

    @property
    def has_its_carrier(self) -> bool:
        """Whether who has the requests of ``inherited`` in flight, if anybody, answers this bundle."""
        return self.taken_over or not self.inherited.count

    @property
    def may_leave_over(self) -> bool:
        """Whether records that are not answered may go over into the next bundle.

        Not where it has read all there was: those are committed as soon as they can be. Not before its first outcome either:
        it would commit nothing, and the next bundle would wait for the same answers. So none is carried for ever.
        """
        return self.leaves_more and self.written > 0 and not self.mended and self.has_its_carrier

    def split(self) -> Bundle:
        """Removes ``left_over``, which was read last; returns the bundle that begins with it: an empty one if it is nothing.

        The next bundle is committed under the group's generation of this one: under it were its first records read.
        """
        carried = self.left_over
        if not carried.count:
            return Bundle()
        after = {partition: self.next[partition] for partition in carried.first}
        reads = self._cut_off(carried.first, carried.count)
        return Bundle(dict(carried.first), after, reads, carried.count, self.group, fresh=True, inherited=carried)

    def _cut_off(self, first: Mapping[Partition, int], records: int) -> list[tuple[float, int]]:
        """Removes the last ``records``, which begin at ``first`` in their partitions; returns what ``reads`` has of them."""
        for partition, offset in first.items():
            self.next[partition] = offset
            if self.first[partition] >= offset:
                self.forget(partition)
        self.read -= records
        cut: list[tuple[float, int]] = []
        while records and self.reads:  # they came with the last polls
            polled_at, count = self.reads.pop()
            if count > records:
                self.reads.append((polled_at, count - records))
            cut.insert(0, (polled_at, min(count, records)))
            records -= min(count, records)
        return cut

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


def _first_offsets(records: Iterable[KafkaRecord]) -> dict[Partition, int]:
    backwards = list(records)[::-1]  # of each partition, the first one stays
    return dict(zip(map(_PARTITION_OF, backwards), map(_OFFSET_OF, backwards), strict=True))
