"""One process's place in Kafka for one job: reader, writer, and what is in flight between them.

The source polls and the sink commits, in the same bundle; both find the session in module state (``session``), because
consumers and producers can't be pickled. Kafka is the checkpoint: a bundle that was not committed, for whatever reason
(rebalance, an exception in a DoFn, a server that is down), is rolled back: the transaction is aborted, the reader seeks back
to the bundle's first offsets, and the records are read again.
"""

from __future__ import annotations

import concurrent.futures
import logging
import operator
import time
from collections.abc import Callable, Mapping, Sequence

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.config import ASSIGN_GROUP, AT_LEAST_ONCE, KafkaConfig, Partition
from transforms.kafka.native.bundle import Bundle, Commit, at_once
from transforms.kafka.native.claims import fence_others, mark
from transforms.kafka.native.consumer import GroupReader, Reader, StaticReader
from transforms.kafka.native.producer import NotCommittedError, OutcomeUnknownError, Writer, open_writer
from transforms.observe import observer
from transforms.types import KafkaRecord, OutputRecord

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 1.0
"""How long after the last poll a waiting bundle starts to poll with its partitions paused."""

_PARTITION_OF = operator.itemgetter(0, 1)
_OFFSET_OF = operator.itemgetter(2)

MAX_ROLLBACKS = 20
"""Rollbacks in a row, with no rebalance among them, after which the job gives up: something is wrong for good."""

OVERLAP_FROM = 2048
"""Bundles of so many records commit while the next one is read. Smaller ones don't: it would only make more transactions."""

CAUTIOUS_BUNDLES = 10
"""For how many bundles outputs are held until all are there, after a transaction grew too old to stay open."""


class Session:
    """Reads, writes and commits for one job in one process. Not for use by several threads at once.

    Args:
        config: The job's.
        shard: Of a static assignment, which share this is.
        shards: And of how many.
        clock: Seconds, monotonic.
        sleep: Waits so many seconds.
        open_writer: Makes the writer.
        open_reader: Makes the reader; by default the one for ``config.assignment``.
        background: Runs commits that overlap with reading, one at a time.
        overlap_from: From how many records on a bundle's commit overlaps.
        claim: Whether to claim partitions before reading them (``claims.py``), where no group says whose they are.
    """

    def __init__(
        self,
        config: KafkaConfig,
        shard: int = 0,
        shards: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        open_writer: Callable[[KafkaConfig], Writer] = open_writer,
        open_reader: Callable[[KafkaConfig], Reader] | None = None,
        background: concurrent.futures.Executor | None = None,
        overlap_from: int = OVERLAP_FROM,
        claim: bool = False,
    ):
        self.config = config
        self._clock, self._sleep = clock, sleep
        self.writer: Writer = open_writer(config)  # first: it fences a former self before we read what that may commit
        if open_reader is not None:
            self.reader = open_reader(config)
        elif config.assignment == ASSIGN_GROUP:
            self.reader = GroupReader(config)
        else:
            self.reader = StaticReader(config, shard, shards, claim=self._claim if claim else None)
        self._mark = mark(config) if claim else ""
        self._background = background or concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._overlap_from = overlap_from
        self._bundle = Bundle()
        self._commit: Commit | None = None
        self._polled_at = clock()
        self._paused = False
        self._rollbacks = 0
        self._outcome_unknown = False
        self._cautious = 0
        self._known: set[Partition] = set()
        self._committed_count = 0
        self.committed: dict[Partition, int] = {}

    # ------------------------------------------------------------------ reading

    def begin(self) -> None:
        """Starts a bundle. One that was begun and never committed has failed: its records are read again."""
        if self._bundle.first or self._bundle.void is not None:
            self.rollback(self._bundle.void or "the bundle failed")
        self._bundle = Bundle()
        self.reader.changed = False

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads records into the bundle, as ``Reader.consume``. An empty list: nothing came in time."""
        if self._paused:
            self.reader.resume()
            self._paused = False
        records = self.reader.consume(most, timeout_s, fill=fill)
        self._polled_at = self._clock()
        observer().polled()
        if self._bundle.group is None:
            # The generation that these records are read under: a commit after a rebalance is refused by the broker.
            self._bundle.group = self.reader.consumer.consumer_group_metadata()
            self.reader.changed = False
        self._note_changes()
        # Noted in a void bundle, too: reading has moved past them, and the rollback has to take it back.
        last = dict(zip(map(_PARTITION_OF, records), map(_OFFSET_OF, records), strict=True))
        for partition, offset in last.items():
            if partition not in self._bundle.next:
                came = next(record[2] for record in records if (record[0], record[1]) == partition)
                self._bundle.first.setdefault(partition, came)  # a commit that failed may go back further
            self._bundle.next[partition] = offset + 1
        if self._bundle.void is not None:
            return []
        if records:
            self._bundle.reads.append((self._polled_at, len(records)))
            self._bundle.read += len(records)
        return records

    def has_read_beyond(self, ends: Mapping[Partition, int]) -> bool:
        """Whether this bundle has read a record at or beyond the end of its partition."""
        return any(offset > ends.get(partition, 0) for partition, offset in self._bundle.next.items())

    def poll_nothing(self, wait_s: float) -> None:
        """Keeps our place in the group for ``wait_s`` seconds without reading."""
        self._poll_paused()
        self._sleep(wait_s)

    def take_committed_count(self) -> int:
        """How many records were committed since the last call."""
        count, self._committed_count = self._committed_count, 0
        return count

    def group_has_passed(self, ends: Mapping[Partition, int]) -> bool:
        """Whether the group, all its members together, has committed everything before ``ends``."""
        found = self.reader.committed_offsets(ends)
        return all(found.get(partition, -1) >= end for partition, end in ends.items())

    def stop_at(self, beyond: Sequence[KafkaRecord]) -> None:
        """Takes records out of the bundle again and reads no more of their partitions: they lie beyond the end asked for."""
        first: dict[Partition, int] = {}
        for record in beyond:
            first.setdefault((record.topic, record.partition), record.offset)
        for partition, offset in first.items():
            self._bundle.next[partition] = offset
            if self._bundle.first[partition] >= offset:
                del self._bundle.first[partition], self._bundle.next[partition]
            self.reader.stop(partition, offset)
        self._bundle.read -= len(beyond)

    def position(self, partition: Partition) -> int:
        """Up to where ``partition`` is committed, or will be once the commit under way is done; -1 if not known."""
        underway = self._commit.offsets.get(partition, -1) if self._commit is not None else -1
        return max(underway, self.committed.get(partition, -1))

    def positions_past_markers(self) -> dict[Partition, int]:
        """Ends met by reading that lie beyond the last record: transaction markers, aborted or compacted records."""
        return {
            partition: end
            for partition, end in self.reader.ends.items()
            if partition in self.reader.owned and end > max(self._bundle.next.get(partition, -1), self.position(partition))
        }

    def _claim(self, starts: list[ck.TopicPartition]) -> list[ck.TopicPartition]:
        if self._commit is not None or self.writer.open_s:
            return starts  # in the middle of something: partitions that were added just now, and that nobody can have had
        starts = fence_others(self.config, self.reader, starts)
        marked = [ck.TopicPartition(tp.topic, tp.partition, tp.offset, self._mark) for tp in starts]
        self.writer.commit(marked, self.reader, self.reader.consumer.consumer_group_metadata())
        return starts

    def _note_changes(self) -> None:
        if self.reader.owned != self._known:
            self._known = set(self.reader.owned)
            observer().assigned([f"{topic}/{number}" for topic, number in sorted(self._known)])
        if self._bundle.first and self.reader.changed and self._bundle.void is None:
            # The generation moved on under this bundle: its commit would be refused (ILLEGAL_GENERATION).
            self._bundle.void = "the group rebalanced"
        for partition in self.reader.taken:
            # Others may have gone on from where we were: should it come back, it is read from what is committed then, and
            # a rollback must not take it further back.
            self._bundle.first.pop(partition, None)
            self._bundle.next.pop(partition, None)
            self.committed.pop(partition, None)
            if self._commit is not None:
                self._commit.bundle.first.pop(partition, None)
                self._commit.offsets.pop(partition, None)
        self.reader.taken.clear()

    # ------------------------------------------------------------------ waiting

    def keep_alive(self) -> bool:
        """Called again and again while a bundle waits for the model server; keeps our place in the group.

        Returns:
            Whether the bundle can still be committed. If not, its outcomes are to be dropped: it will be read again.
        """
        if self._clock() - self._polled_at >= KEEP_ALIVE_S:
            self._poll_paused()
        if self._commit is not None:
            if self._commit.done_at.done():
                self.settle()
            return self._bundle.void is None
        open_s = self.writer.open_s
        if open_s and open_s > self._transaction_timeout_s / 2:
            # Outputs in a transaction that nobody ends would block every read_committed reader, then be aborted anyway.
            self._bundle.void = "the model server was too slow for one transaction"
            self._cautious = CAUTIOUS_BUNDLES
        return self._bundle.void is None

    def give_up(self, reason: str) -> None:
        """Marks the bundle in flight as not to be committed; it is rolled back when it ends."""
        self._bundle.void = reason

    def _poll_paused(self) -> None:
        if not self._paused:
            self.reader.pause()
            self._paused = True
        stray = self.reader.consume(1, 0.0)
        self._polled_at = self._clock()
        observer().polled()
        self._note_changes()
        # A record that was already on its way to us when the partitions were paused is not part of this bundle.
        self.reader.rewind({(record.topic, record.partition): record.offset for record in stray})

    @property
    def _transaction_timeout_s(self) -> float:
        return float(self.config.producer_properties()["transaction.timeout.ms"]) / 1000

    # ------------------------------------------------------------------ writing

    def write(self, records: list[OutputRecord]) -> None:
        """Adds outcomes to the bundle: predictions and dead letters alike."""
        if self._bundle.void is not None or not records:
            return
        if self._commit is not None and self._commit.done_at.done() and not self.settle():
            return
        self._bundle.held_back.extend(records)
        # Held until all are there where a transaction has grown too old before, and while the one before is committed.
        if not self._cautious and self._commit is None and not self._write_held_back():
            return
        self._bundle.written += len(records)
        for record in [record for record in records if record[6] is not None]:  # failed_stage, by its place: half the time
            self._bundle.dead[dict(record.headers)["inference.error.class"].decode()] += 1  # type: ignore[union-attr]

    def _write_held_back(self) -> bool:
        """Writes what waits; returns whether the bundle can still be committed."""
        try:
            self.writer.write(self._bundle.held_back)
        except NotCommittedError as error:
            self._bundle.void = str(error)
            return False
        self._bundle.held_back.clear()
        return True

    def commit(self) -> bool:
        """Ends the bundle: outputs and source offsets become final together, or none of them.

        Returns:
            Whether the bundle is committed, or its commit has begun: ``settle`` then tells how it went. If not, its records
            are read again.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Trying again would not help.
        """
        bundle = self._bundle
        if bundle.void is None and not bundle.next and not self.positions_past_markers():
            return self.settle()
        # Written here, not in the background: there, it would fight the next bundle for the interpreter.
        if bundle.void is not None or not self.settle() or not self._write_held_back():
            self.rollback(bundle.void or "")
            return False
        if self.config.one_outcome_each and bundle.written != bundle.read:
            raise KafkaError(f"{bundle.read} records were read, but {bundle.written} outcomes came to be written")
        offsets = {**bundle.next, **self.positions_past_markers()}
        self._bundle = Bundle()
        if bundle.read >= self._overlap_from:
            self._commit = Commit(bundle, offsets, self._background.submit(self._make_final, bundle, dict(offsets)))
            return True
        self._commit = Commit(bundle, offsets, at_once(lambda: self._make_final(bundle, offsets)))
        if not self.settle():
            self.rollback(self._bundle.void or "")
            return False
        return True

    def _make_final(self, bundle: Bundle, offsets: dict[Partition, int]) -> float:
        self.writer.commit(
            [ck.TopicPartition(topic, number, offset, self._mark) for (topic, number), offset in offsets.items()],
            self.reader,
            bundle.group,
        )
        return self._clock()

    def settle(self) -> bool:
        """Waits for the commit under way, if there is one.

        Returns:
            Whether it is final. If not, the bundle that is read now is void: reading goes back to before both.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Trying again would not help.
        """
        commit, self._commit = self._commit, None
        if commit is None:
            return True
        done = commit.bundle
        try:
            done_at = commit.done_at.result()
        except NotCommittedError as error:
            self._bundle.void = str(error)
            self._bundle.first.update(done.first)
            self._outcome_unknown = isinstance(error, OutcomeUnknownError)
            return False
        observer().committed(
            done.written - done.dead.total(),
            dict(done.dead),
            [((done_at - read_at) * 1000, count) for read_at, count in done.reads],
        )
        self._rollbacks = 0
        self._cautious = max(0, self._cautious - 1)
        self.committed.update(commit.offsets)
        self._committed_count += done.read
        return True

    def rollback(self, reason: str) -> None:
        """Undoes the bundle: nothing of it becomes visible, and its records are read again.

        Raises:
            KafkaError: It happened too often in a row.
        """
        self.settle()
        self.writer.abort()
        if not self.reader.changed:
            self._rollbacks += 1
        if self._rollbacks > MAX_ROLLBACKS:
            raise KafkaError(f"{self._rollbacks} bundles in a row could not be committed; the last because: {reason}")
        first = self._bundle.first
        if self._outcome_unknown:
            ours = self.reader.start_offsets(sorted(first.keys() & self.reader.owned))
            first = {(tp.topic, tp.partition): tp.offset for tp in ours}
            self._outcome_unknown = False
        self.reader.rewind(first)
        observer().rolled_back(reason)
        self._bundle = Bundle()

    def close(self) -> None:
        """Gives the partitions back at once."""
        self.settle()
        if self._bundle.first or self._bundle.void is not None:
            self.rollback("stopped")
        self._background.shutdown()
        if self.config.delivery == AT_LEAST_ONCE:
            self._commit_synchronously()
        self.reader.close()
        self.writer.close()

    def discard(self) -> None:
        """Ends it as it is: what is in flight is left to Kafka, which aborts it for the next one of this name."""
        self._background.shutdown(wait=False, cancel_futures=True)
        self.reader.close()
        self.writer.close()

    def _commit_synchronously(self) -> None:
        # Asynchronous commits may still be on their way; this one waits behind them.
        offsets = [ck.TopicPartition(*partition, offset) for partition, offset in self.committed.items()]
        ours = [tp for tp in offsets if (tp.topic, tp.partition) in self.reader.owned]
        if ours:
            try:
                self.reader.consumer.commit(offsets=ours, asynchronous=False)
            except ck.KafkaException as error:
                log.warning("the last offsets were not committed, their records will be read again: %s", error)
