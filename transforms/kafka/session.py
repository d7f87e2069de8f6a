"""One process's place in Kafka for one job: reader, writer, and what is in flight between them.

The source polls and the sink commits, in the same bundle; both find the session in module state (``session``), because
consumers and producers can't be pickled. Kafka is the checkpoint: a bundle that was not committed, for whatever reason
(rebalance, an exception in a DoFn, a server that is down), is rolled back: the transaction is aborted, the reader seeks back
to the bundle's first offsets, and the records are read again.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.config import ASSIGN_GROUP, AT_LEAST_ONCE, KafkaConfig
from transforms.kafka.consumer import GroupReader, Partition, Reader, StaticReader
from transforms.kafka.producer import NotCommittedError, Writer, open_writer
from transforms.observe import observer
from transforms.types import KafkaRecord, OutputRecord

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 1.0
"""How long after the last poll a waiting bundle starts to poll with its partitions paused."""

MAX_ROLLBACKS = 20
"""Rollbacks in a row, with no rebalance among them, after which the job gives up: something is wrong for good."""

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
    ):
        self.config = config
        self._clock, self._sleep = clock, sleep
        self.writer: Writer = open_writer(config)  # first: it fences a former self before we read what that may commit
        if open_reader is not None:
            self.reader = open_reader(config)
        elif config.assignment == ASSIGN_GROUP:
            self.reader = GroupReader(config)
        else:
            self.reader = StaticReader(config, shard, shards)
        self._first: dict[Partition, int] = {}
        self._next: dict[Partition, int] = {}
        self._reads: list[tuple[float, int]] = []
        self._group: Any = None
        self._void: str | None = None
        self._polled_at = clock()
        self._paused = False
        self._rollbacks = 0
        self._cautious = 0
        self._held_back: list[OutputRecord] = []
        self._written = 0
        self._dead: collections.Counter[str] = collections.Counter()
        self._known: set[Partition] = set()
        self._read = 0
        self._committed_count = 0
        self.committed: dict[Partition, int] = {}

    # ------------------------------------------------------------------ reading

    def begin(self) -> None:
        """Starts a bundle. One that was begun and never committed has failed: its records are read again."""
        if self._first or self._void is not None:
            self.rollback(self._void or "the bundle failed")
        self.reader.changed = False
        self._group = None
        self._void = None

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads records into the bundle, as ``Reader.consume``. An empty list: nothing came in time."""
        if self._paused:
            self.reader.resume()
            self._paused = False
        records = self.reader.consume(most, timeout_s, fill=fill)
        self._polled_at = self._clock()
        if self._group is None:
            # The generation that these records are read under: a commit after a rebalance is refused by the broker.
            self._group = self.reader.consumer.consumer_group_metadata()
            self.reader.changed = False
        self._note_changes()
        # Noted in a void bundle, too: reading has moved past them, and the rollback has to take it back.
        last = {(record[0], record[1]): record[2] for record in records}
        for partition, offset in last.items():
            if partition not in self._next:
                self._first[partition] = next(record[2] for record in records if (record[0], record[1]) == partition)
            self._next[partition] = offset + 1
        if self._void is not None:
            return []
        if records:
            self._reads.append((self._polled_at, len(records)))
            self._read += len(records)
        return records

    def has_read_beyond(self, ends: Mapping[Partition, int]) -> bool:
        """Whether this bundle has read a record at or beyond the end of its partition."""
        return any(offset > ends.get(partition, 0) for partition, offset in self._next.items())

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
            self._next[partition] = offset
            if self._first[partition] >= offset:
                del self._first[partition], self._next[partition]
            self.reader.stop(partition, offset)
        self._read -= len(beyond)

    def positions_past_markers(self) -> dict[Partition, int]:
        """Ends met by reading that lie beyond the last record: transaction markers, aborted or compacted records."""
        return {
            partition: end
            for partition, end in self.reader.ends.items()
            if partition in self.reader.owned and end > max(self._next.get(partition, -1), self.committed.get(partition, -1))
        }

    def _note_changes(self) -> None:
        if self.reader.owned != self._known:
            self._known = set(self.reader.owned)
            observer().assigned([f"{topic}/{number}" for topic, number in sorted(self._known)])
        if self._first and self.reader.changed and self._void is None:
            # The generation moved on under this bundle: its commit would be refused (ILLEGAL_GENERATION).
            self._void = "the group rebalanced"
        for partition in self.reader.taken:
            # Others may have gone on from where we were: should it come back, it is read from what is committed then, and
            # a rollback must not take it further back.
            self._first.pop(partition, None)
            self._next.pop(partition, None)
            self.committed.pop(partition, None)
        self.reader.taken.clear()

    # ------------------------------------------------------------------ waiting

    def keep_alive(self) -> bool:
        """Called again and again while a bundle waits for the model server; keeps our place in the group.

        Returns:
            Whether the bundle can still be committed. If not, its outcomes are to be dropped: it will be read again.
        """
        if self._clock() - self._polled_at >= KEEP_ALIVE_S:
            self._poll_paused()
        open_s = self.writer.open_s
        if open_s and open_s > self._transaction_timeout_s / 2:
            # Outputs in a transaction that nobody ends would block every read_committed reader, then be aborted anyway.
            self._void = "the model server was too slow for one transaction"
            self._cautious = CAUTIOUS_BUNDLES
        return self._void is None

    def give_up(self, reason: str) -> None:
        """Marks the bundle in flight as not to be committed; it is rolled back when it ends."""
        self._void = reason

    def _poll_paused(self) -> None:
        if not self._paused:
            self.reader.pause()
            self._paused = True
        stray = self.reader.consume(1, 0.0)
        self._polled_at = self._clock()
        self._note_changes()
        # A record that was already on its way to us when the partitions were paused is not part of this bundle.
        self.reader.rewind({(record.topic, record.partition): record.offset for record in stray})

    @property
    def _transaction_timeout_s(self) -> float:
        return float(self.config.producer_properties()["transaction.timeout.ms"]) / 1000

    # ------------------------------------------------------------------ writing

    def write(self, records: list[OutputRecord]) -> None:
        """Adds outcomes to the bundle: predictions and dead letters alike."""
        if self._void is not None or not records:
            return
        if self._cautious:
            self._held_back.extend(records)
        else:
            try:
                self.writer.write(records)
            except NotCommittedError as error:
                self._void = str(error)
                return
        self._written += len(records)
        for record in records:
            if record.failed_stage is not None:
                self._dead[dict(record.headers)["inference.error.class"].decode()] += 1  # type: ignore[union-attr]

    def commit(self) -> bool:
        """Ends the bundle: outputs and source offsets become final together, or none of them.

        Returns:
            Whether the bundle was committed; if not, its records are read again.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Trying again would not help.
        """
        offsets = {**self._next, **self.positions_past_markers()} if self._void is None else self._next
        if not offsets and self._void is None:
            return True
        if self._void is not None:
            self.rollback(self._void)
            return False
        if self.config.one_outcome_each and self._written != self._read:
            raise KafkaError(f"{self._read} records were read, but {self._written} outcomes came to be written")
        try:
            if self._held_back:
                self.writer.write(self._held_back)
            self.writer.commit(
                [ck.TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()],
                self.reader.consumer,
                self._group,
            )
        except NotCommittedError as error:
            self.rollback(str(error))
            return False
        now = self._clock()
        observer().committed(
            self._written - self._dead.total(),
            dict(self._dead),
            [((now - read_at) * 1000, count) for read_at, count in self._reads],
        )
        self._rollbacks = 0
        self._cautious = max(0, self._cautious - 1)
        self.committed.update(offsets)
        self._committed_count += self._read
        self._clear()
        return True

    def rollback(self, reason: str) -> None:
        """Undoes the bundle: nothing of it becomes visible, and its records are read again.

        Raises:
            KafkaError: It happened too often in a row.
        """
        self.writer.abort()
        if not self.reader.changed:
            self._rollbacks += 1
        if self._rollbacks > MAX_ROLLBACKS:
            raise KafkaError(f"{self._rollbacks} bundles in a row could not be committed; the last because: {reason}")
        self.reader.rewind(self._first)
        observer().rolled_back(reason)
        self._clear()

    def _clear(self) -> None:
        self._first, self._next, self._reads, self._read = {}, {}, [], 0
        self._held_back, self._written, self._dead = [], 0, collections.Counter()
        self._void = None

    def close(self) -> None:
        """Gives the partitions back at once."""
        if self._first or self._void is not None:
            self.rollback("stopped")
        if self.config.delivery == AT_LEAST_ONCE:
            self._commit_synchronously()
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


_sessions: dict[KafkaConfig, Session] = {}
_lock = threading.Lock()


def session(config: KafkaConfig) -> Session:
    """The session of this process for ``config``, made at the first call.

    Raises:
        FencedError: A newer process of the same instance is there.
        KafkaError: Kafka does not answer, or refuses us.
    """
    with _lock:
        if config not in _sessions:
            _sessions[config] = Session(config)
        return _sessions[config]


def close_sessions() -> None:
    """Closes every session of this process."""
    with _lock:
        while _sessions:
            _sessions.popitem()[1].close()
