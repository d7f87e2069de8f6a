"""``Reader``: the consumer of a session. It knows the owned partitions, their start offsets, and changes by a rebalance.

There is one class for each assignment: ``GroupReader`` uses the consumer-group protocol, ``StaticReader`` reads a fixed
share of every topic, for runners that place shards themselves. Both read a partition from the group's committed offset,
which is the only checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.config import ASSIGN_GROUP, KafkaConfig, Partition
from transforms.kafka.messages import headers_of
from transforms.kafka.native.assignment import AssignmentChange
from transforms.kafka.native.offset_commits import OffsetCommits
from transforms.kafka.native.starts import StartOffsets
from transforms.kafka.vendor import describe, is_transient, timestamp_of
from transforms.retry import Deadline
from transforms.types import KafkaRecord

log = logging.getLogger(__name__)

SAY_DOWN_S = 10.0
"""Seconds between two warnings that no broker answers."""

_SEEKABLE_S = 10.0

Claim = Callable[[list[ck.TopicPartition]], list[ck.TopicPartition]]
"""Called with the start offsets of new partitions before they are read; returns the start offsets to use."""


class Reader:
    """A consumer whose partitions are set by a subclass.

    Args:
        config: The job's Kafka configuration.
        open_consumer: Makes the consumer.

    Attributes:
        owned: The partitions that are assigned now.
        ends: Partition to the position (next offset) where the consumer last reached the end of the partition.
        commits: Commits offsets outside of transactions.
    """

    def __init__(self, config: KafkaConfig, open_consumer: Callable[..., Any] = ck.Consumer):
        self.config = config
        self.owned: set[Partition] = set()
        self.ends: dict[Partition, int] = {}
        self._removed_in_call: set[Partition] = set()
        self._change: AssignmentChange | None = None
        self._paused = False
        self._stopped: set[Partition] = set()
        self._say_down_at = 0.0
        self._failure: KafkaError | None = None
        self.commits = OffsetCommits()
        self.consumer = open_consumer(
            {**config.consumer_properties(), "error_cb": self._on_error, "on_commit": self.commits.answered},
            logger=logging.getLogger("transforms.kafka.librdkafka"),
        )
        self._starts = StartOffsets(config, self.consumer)

    def take_change(self) -> AssignmentChange | None:
        """Returns the change of the assignment since the last call; ``None`` if there was none."""
        change, self._change = self._change, None
        return change

    def consume(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads up to ``most`` records. Rebalances happen inside.

        Args:
            most: The highest number of records to return.
            timeout_s: Seconds to wait for a first record. Records that were already fetched are returned with it.
            fill: Wait up to ``timeout_s`` for ``most`` records instead.

        Raises:
            KafkaError: Retention deleted records that were not read yet, Kafka refuses access, or the like.
        """
        if fill or timeout_s == 0:
            messages = self.consumer.consume(most, timeout_s)
        else:
            first = self.consumer.poll(timeout_s)
            messages = [] if first is None else [first]
            if first is not None and most > 1:
                messages += self.consumer.consume(most - 1, 0.0)
        if self._failure is not None:
            raise self._failure
        records = self._records(messages)
        if self._removed_in_call:
            # Records read of a partition before it was removed belong to its new owner, even if that is this consumer again.
            removed, self._removed_in_call = self._removed_in_call, set()
            records = [record for record in records if (record.topic, record.partition) not in removed]
            for partition in removed:
                self.ends.pop(partition, None)
            self.rewind_to_committed(removed)
        return records

    def _records(self, messages: list[ck.Message]) -> list[KafkaRecord]:
        records: list[KafkaRecord] = []
        append, new = records.append, tuple.__new__  # takes half the time of KafkaRecord(…), which counts for every record
        only_topic = self.config.topics[0] if len(self.config.topics) == 1 else None
        for message in messages:
            error = message.error()
            if error is None:
                fields = (
                    only_topic or message.topic(),
                    message.partition(),
                    message.offset(),
                    timestamp_of(*message.timestamp()),
                    message.key(),
                    message.value(),
                    headers_of(message),
                )
                append(new(KafkaRecord, fields))
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                self.ends[message.topic(), message.partition()] = message.offset()
            elif not is_transient(error):
                raise self._explain(message, error)
        return records

    def rewind(self, offsets: dict[Partition, int]) -> None:
        """Seeks back to these offsets, in the partitions that are still owned, and resumes those that were stopped."""
        for partition, offset in offsets.items():
            if partition in self.owned:
                self._seek(ck.TopicPartition(*partition, offset))
                self.ends.pop(partition, None)
                if partition in self._stopped:
                    self._stopped.discard(partition)
                    self._set_fetching([partition])

    def rewind_to_committed(self, partitions: Collection[Partition]) -> None:
        """Seeks back to what the group has committed, in those of the partitions that are still owned."""
        back = self.start_offsets(sorted(self.owned.intersection(partitions)))
        self.rewind({(tp.topic, tp.partition): tp.offset for tp in back})

    def stop(self, partition: Partition, position: int) -> None:
        """Seeks ``partition`` to ``position``, and reads no more of it until it is rewound."""
        self._seek(ck.TopicPartition(*partition, position))
        self.consumer.pause([ck.TopicPartition(*partition)])
        self._stopped.add(partition)
        self.ends[partition] = position

    def pause(self) -> None:
        """Pauses all partitions, also those assigned later. ``consume`` must still be called, to stay in the group."""
        if not self._paused:
            self._paused = True
            self._set_fetching(self.owned)

    def resume(self) -> None:
        """Resumes all partitions that are not stopped."""
        if self._paused:
            self._paused = False
            self._set_fetching(self.owned - self._stopped)

    def _set_fetching(self, partitions: Iterable[Partition]) -> None:
        found = [ck.TopicPartition(*partition) for partition in partitions]
        if self._paused:
            self.consumer.pause(found)
        else:
            self.consumer.resume(found)  # librdkafka keeps a revoked partition paused when it comes back

    def _assign(self, starts: list[ck.TopicPartition]) -> None:
        self.consumer.incremental_assign(starts)
        added = {(tp.topic, tp.partition) for tp in starts}
        self._set_fetching(added)
        self.owned |= added
        self._note_change()

    def _note_change(self, removed: Iterable[Partition] = ()) -> None:
        self._change = AssignmentChange(frozenset(self.owned), frozenset(removed)).after(self._change)

    def close(self) -> None:
        """Leaves the group at once, so that the other members do not wait for the session time-out."""
        self.consumer.close()

    def start_offsets(self, partitions: Iterable[Partition]) -> list[ck.TopicPartition]:
        """Returns the start offset of each partition. See ``StartOffsets.of``."""
        return self._starts.of(partitions)

    def committed_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Returns the committed offsets of the group, by partition; a partition without one is left out."""
        return {(tp.topic, tp.partition): tp.offset for tp in self._starts.committed(partitions) if tp.offset >= 0}

    def group_has_committed(self, end_offsets: Mapping[Partition, int]) -> bool:
        """Returns whether the members of the group together have committed all offsets before ``end_offsets``."""
        found = self.committed_offsets(end_offsets)
        return all(found.get(partition, -1) >= end for partition, end in end_offsets.items())

    def _seek(self, target: ck.TopicPartition) -> None:
        # Right after its assignment, a partition may refuse a seek for a moment ("Erroneous state").
        deadline = Deadline(_SEEKABLE_S)
        while True:
            try:
                self.consumer.seek(target)
                return
            except ck.KafkaException as error:
                if deadline.passed:
                    raise KafkaError(f"{target.topic}/{target.partition}: {describe(error.args[0])}") from error
                time.sleep(0.01)

    def _explain(self, message: ck.Message, error: ck.KafkaError) -> KafkaError:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error.code() == ck.KafkaError._AUTO_OFFSET_RESET:
            # What is missing counts from the committed offsets: a bundle that was read and not committed is read again.
            try:
                self.start_offsets(sorted(self.owned))
            except KafkaError as why:
                return why
            return KafkaError(
                f"{topic}/{partition}: offset {offset} is not there ({error.str()}). To go on without the records that are "
                "gone, run once with --start_from=earliest --start_from_again"
            )
        return KafkaError(f"{topic or 'reading'}: {describe(error)}")

    def _on_error(self, error: ck.KafkaError) -> None:
        # Errors of librdkafka's background threads. It retries by itself; only an error that no retry can cure ends the job.
        if error.code() in (ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._SSL) and time.monotonic() >= self._say_down_at:
            self._say_down_at = time.monotonic() + SAY_DOWN_S
            why = f": {describe(error)}" if error.code() == ck.KafkaError._SSL else ""
            log.warning("no broker of %s answers; still trying%s", self.config.bootstrap_servers, why)
        if error.code() in (ck.KafkaError._AUTHENTICATION, ck.KafkaError.SASL_AUTHENTICATION_FAILED) or error.fatal():
            self._failure = KafkaError(describe(error))


class GroupReader(Reader):
    """A reader whose partitions the consumer-group protocol assigns."""

    def __init__(self, config: KafkaConfig, open_consumer: Callable[..., Any] = ck.Consumer):
        super().__init__(config, open_consumer)
        self._closing = False
        self.consumer.subscribe(
            list(config.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """As ``Reader.close``."""
        self._closing = True
        super().close()

    # Rebalance callbacks run inside consume() and close(), in the thread that calls it.

    def _on_assign(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        if self._closing:
            # Another member left just before this one. Kafka no longer answers requests for offsets, and none are needed.
            consumer.incremental_assign(partitions)
            return
        try:
            starts = self.start_offsets((tp.topic, tp.partition) for tp in partitions)
        except (KafkaError, ck.KafkaException) as error:
            self._failure = error if isinstance(error, KafkaError) else KafkaError(describe(error.args[0]))
            starts = []
        self._assign(starts)

    def _on_revoke(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        gone = {(tp.topic, tp.partition) for tp in partitions}
        self._removed_in_call |= gone
        self.owned -= gone
        self._stopped -= gone
        for partition in gone:
            self.ends.pop(partition, None)
        self.commits.forget(gone)
        self._note_change(gone)
        consumer.incremental_unassign(partitions)


class StaticReader(Reader):
    """A reader of a fixed share of every topic: the partitions whose number modulo ``shards`` is ``shard``.

    Args:
        config: The job's Kafka configuration.
        shard: The index of the shard.
        shards: The number of shards.
        open_consumer: Makes the consumer.
        claim: Claims new partitions before they are read; ``None`` for no claims.
    """

    def __init__(
        self,
        config: KafkaConfig,
        shard: int = 0,
        shards: int = 1,
        open_consumer: Callable[..., Any] = ck.Consumer,
        claim: Claim | None = None,
    ):
        super().__init__(config, open_consumer)
        self._shard, self._shards, self._claim = shard, shards, claim
        self._discover_at = 0.0
        # As often as a group member looks for new partitions. Without a group, the reader must look for them itself.
        self._discovery_s = float(config.consumer_properties()["topic.metadata.refresh.interval.ms"]) / 1000

    def consume(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """See ``Reader.consume``. At intervals, it looks for new partitions first."""
        if time.monotonic() >= self._discover_at:
            self._discover_at = time.monotonic() + self._discovery_s
            self._discover()
        return super().consume(most, timeout_s, fill=fill)

    def _discover(self) -> None:
        found = set()
        for topic in self.config.topics:
            try:
                partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
            except ck.KafkaException as error:
                if is_transient(error.args[0]):
                    return  # the next call tries again
                raise KafkaError(f"{topic}: {describe(error.args[0])}") from error
            found |= {(topic, number) for number in partitions if number % self._shards == self._shard}
        if new := found - self.owned:
            starts = self.start_offsets(sorted(new))
            self._assign(self._claim(starts) if self._claim is not None else starts)


OpenReader = Callable[[KafkaConfig, int, int, Claim | None], Reader]
"""As ``open_reader``."""


def open_reader(config: KafkaConfig, shard: int, shards: int, claim: Claim | None) -> Reader:
    """Makes the reader for ``config.assignment``.

    Args:
        config: The job's Kafka configuration.
        shard: The index of this shard in a static assignment.
        shards: The number of shards.
        claim: Claims partitions before they are read, in a static assignment; ``None`` for no claims.
    """
    return GroupReader(config) if config.assignment == ASSIGN_GROUP else StaticReader(config, shard, shards, claim=claim)
