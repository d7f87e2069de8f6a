"""``Reader``: the consumer of a session. It knows the owned partitions, their start offsets, and changes by a rebalance.

There is one class for each assignment: ``GroupReader`` uses the consumer-group protocol, ``StaticReader``
(``static_reader.py``) reads a fixed share of every topic, for runners that place shards themselves. Both read a partition
from the group's committed offset, which is the only checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.admin_client import open_admin
from transforms.kafka.committed import is_of_another
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.messages import headers_of
from transforms.kafka.msk import REFUSED
from transforms.kafka.native.assignment import AssignmentChange
from transforms.kafka.native.input_watch import InputLostError, InputWatch
from transforms.kafka.native.offset_commits import OffsetCommits
from transforms.kafka.native.starts import StartOffsets, Starts
from transforms.kafka.obstacles import CURABLE
from transforms.kafka.start_from import GO_ON_WITHOUT
from transforms.kafka.topic_ids import UNKNOWN, TopicIds
from transforms.kafka.vendor import describe, is_transient, may_log_in_later, timestamp_of
from transforms.retry import Deadline
from transforms.types import KafkaRecord

log = logging.getLogger(__name__)

SAY_DOWN_S = 10.0
"""Seconds between two warnings that no broker answers."""

_SEEKABLE_S = 10.0
ENDS_TIMEOUT_S = 3.0
"""How long Kafka may take to say the end offset of a partition."""


class Reader:
    """A consumer whose partitions are set by a subclass.

    Args:
        config: The job's Kafka configuration.
        open_consumer: Makes the consumer.
        open_admin: Makes the admin client, which is asked for the ids of the topics.
        clock: Seconds, monotonic, for looking at the topics.
        sleep: Waits for a number of seconds, before a topic is looked at again.

    Attributes:
        owned: The partitions that are assigned now.
        ends: Partition to the position (next offset) where the consumer last reached the end of the partition.
        commits: Commits offsets outside of transactions.
        consumer: The consumer. ``start_over`` may replace it.
    """

    def __init__(
        self,
        config: KafkaConfig,
        open_consumer: Callable[..., Any] = ck.Consumer,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.config = config
        self._open_consumer, self._open_admin, self._clock, self._sleep = open_consumer, open_admin, clock, sleep
        self.owned: set[Partition] = set()
        self.ends: dict[Partition, int] = {}
        self._identities: dict[Partition, str] = {}
        self._removed_in_call: set[Partition] = set()
        self._change: AssignmentChange | None = None
        self._paused = False
        self._stopped: set[Partition] = set()
        self._say_down_at = 0.0
        self._open()

    def _open(self) -> None:
        self._failure: KafkaError | None = None
        self._lost: InputLostError | None = None
        self.commits = OffsetCommits()
        self.consumer = self._open_consumer(
            {**self.config.consumer_properties(), "error_cb": self._on_error, "on_commit": self.commits.answered},
            logger=logging.getLogger("transforms.kafka.librdkafka"),
        )
        ids = TopicIds(self.config, self._open_admin)
        self._starts = StartOffsets(self.config, self.consumer, ids, self._clock, self._sleep)
        self._watch = InputWatch(ids, self._clock)

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
            InputLostError: A topic was deleted or made again, or may not be read any more; also at every later call, until
                ``start_over``. Nothing more is read.
            KafkaError: Retention deleted records that were not read yet, or the like.
        """
        with self._losing():
            return self._consumed(most, timeout_s, fill)

    def _consumed(self, most: int, timeout_s: float, fill: bool) -> list[KafkaRecord]:
        if self._lost is None:
            self._before_reading()
        if fill or timeout_s == 0:
            messages = self.consumer.consume(most, timeout_s)
        else:
            first = self.consumer.poll(timeout_s)
            messages = [] if first is None else [first]
            if first is not None and most > 1:
                messages += self.consumer.consume(most - 1, 0.0)
        if self._failure is not None:
            raise self._failure
        if self._lost is not None:
            raise self._lost
        records = self._records(messages)
        if records:
            self._watch.note_read()
        if self._removed_in_call:
            # Records read of a partition before it was removed belong to its new owner, even if that is this consumer again.
            removed, self._removed_in_call = self._removed_in_call, set()
            records = [record for record in records if (record.topic, record.partition) not in removed]
            for partition in removed:
                self.ends.pop(partition, None)
            self.rewind_to_committed(removed)
        return records

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """Remembers that the input was lost in the block."""
        try:
            yield
        except InputLostError as error:
            self._lost = error
            raise

    def confirm(self) -> None:
        """Makes sure that what was read last is of the topics that it seems to be of, as far as that can be known.

        Raises:
            InputLostError: It is not.
        """
        with self._losing():
            if self._lost is None and (why := self._watch.confirm(self._identities)) is not None:
                raise InputLostError(why)

    def _before_reading(self) -> None:
        """Called at the start of ``consume``, unless the input is lost: looks at the topics. Waits for nothing."""
        if (why := self._watch.look(self._identities)) is not None:
            raise InputLostError(why)

    def identity(self, partition: Partition) -> str:
        """Returns the identity of the topic that a partition is read from, since it was assigned."""
        return self._identities.get(partition, UNKNOWN)

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
            elif not is_transient(error) and (message.topic(), message.partition()) not in self._removed_in_call:
                raise self._explain(message, error)  # of one removed in this call it is as outdated as its records
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
        """Seeks back to what the group has committed, in those of the partitions that are still owned.

        Raises:
            InputLostError: The topic is another one by now.
        """
        with self._losing():
            back = self._starts_again(partitions)
        self.rewind({(tp.topic, tp.partition): tp.offset for tp in back.offsets})

    def _starts_again(self, partitions: Collection[Partition]) -> Starts:
        """Where those of the partitions start that are owned, if their topics are those that are read."""
        back = self.starts(sorted(self.owned.intersection(partitions)))
        for partition, identity in back.identities.items():
            if is_of_another(self.identity(partition), identity):
                raise InputLostError(f"the input topic {partition[0]} was deleted and made again")
        return back

    def start_over(self) -> None:
        """Reads on from what is committed. After an ``InputLostError`` with a new consumer, which joins the group again.

        The former one has positions and epochs of leaders of a topic that is gone, and librdkafka takes a lower epoch for
        old news (https://github.com/confluentinc/librdkafka/issues/4898, open in 2.16).
        """
        if self._lost is None:
            self.rewind_to_committed(self.owned)
            return
        self.close()
        self._remove(set(self.owned))
        self._removed_in_call.clear()  # the new consumer has read nothing of them
        self._open()

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

    def _assign(self, starts: list[ck.TopicPartition], identities: Mapping[Partition, str]) -> None:
        self.consumer.incremental_assign(starts)
        added = {(tp.topic, tp.partition) for tp in starts}
        self._identities |= identities
        self._watch.identities |= {topic: identity for (topic, _), identity in identities.items() if identity}
        self._set_fetching(added)
        self.owned |= added
        self._note_change()

    def _remove(self, gone: set[Partition]) -> None:
        self.owned -= gone
        self._stopped -= gone
        for partition in gone:
            self.ends.pop(partition, None)
            self._identities.pop(partition, None)
        self.commits.forget(gone)
        self._note_change(gone)

    def _note_change(self, removed: Iterable[Partition] = ()) -> None:
        self._change = AssignmentChange(frozenset(self.owned), frozenset(removed)).after(self._change)

    def close(self) -> None:
        """Leaves the group at once, so that the other members do not wait for the session time-out."""
        self.consumer.close()

    def starts(self, partitions: Iterable[Partition], *, commit_first: bool = True) -> Starts:
        """Returns where each partition starts. See ``StartOffsets.of``."""
        return self._starts.of(partitions, commit_first=commit_first)

    def committed_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Returns the committed offsets of the group, by partition; a partition without one is left out."""
        found = self._starts.committed(list(partitions))
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def end_offsets(self, topic: str) -> dict[Partition, int] | None:
        """Returns the end offset of each partition of a topic; ``None`` if Kafka does not say it, or the input is lost."""
        if self._lost is not None:
            return None
        try:
            found = self.consumer.list_topics(topic, timeout=ENDS_TIMEOUT_S).topics[topic]
            if not found.partitions:  # it has an error
                return None
            partitions = [ck.TopicPartition(topic, number) for number in found.partitions]
            ends = [self.consumer.get_watermark_offsets(it, timeout=ENDS_TIMEOUT_S, cached=False)[1] for it in partitions]
        except ck.KafkaException:
            return None
        return {(topic, it.partition): int(end) for it, end in zip(partitions, ends, strict=True)}

    @property
    def identities(self) -> Mapping[str, str]:
        """The identities of the input topics, as Kafka said them last."""
        return self._watch.identities

    def group_has_committed(self, end_offsets: Mapping[Partition, int]) -> bool:
        """Returns whether the group has committed all before ``end_offsets``. If so, ``identities`` are up to date."""
        try:
            with self._losing():
                found = {} if self._lost is not None else self.committed_offsets(end_offsets)
        except InputLostError:
            return False
        if any(found.get(partition, -1) < end for partition, end in end_offsets.items()):
            return False
        self._watch.look_now(self._identities)  # a member without partitions may not have asked yet
        return self._lost is None

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
        if error.code() in CURABLE:
            return InputLostError(f"{topic or 'reading'}: {describe(error)}")
        if error.code() == ck.KafkaError._AUTO_OFFSET_RESET:
            if (why := self._watch.look_now(self._identities)) is not None:
                return InputLostError(why)
            # What is missing counts from the committed offsets: a bundle that was read and not committed is read again.
            try:
                self._starts_again(self.owned)
            except KafkaError as gone:
                return gone
            return KafkaError(
                f"{topic}/{partition}: offset {offset} is not there ({error.str()}). To go on without the records that are "
                f"gone, {GO_ON_WITHOUT}"
            )
        return KafkaError(f"{topic or 'reading'}: {describe(error)}")

    def _on_error(self, error: ck.KafkaError) -> None:
        # Of librdkafka's background threads. It retries by itself; only an error that no retry can cure ends the job.
        if error.code() in (ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._SSL) and time.monotonic() >= self._say_down_at:
            self._say_down_at = time.monotonic() + SAY_DOWN_S
            why = f": {describe(error)}" if error.code() == ck.KafkaError._SSL else ""
            log.warning("no broker of %s answers; still trying%s", self.config.bootstrap_servers, why)
        if may_log_in_later(error):
            log.warning("can't log in to %s; still trying: %s", self.config.bootstrap_servers, describe(error))
        elif error.code() in (ck.KafkaError._AUTHENTICATION, ck.KafkaError.SASL_AUTHENTICATION_FAILED) or error.fatal():
            self._failure = KafkaError(REFUSED if self.config.by_iam and not error.fatal() else describe(error))


class GroupReader(Reader):
    """A reader whose partitions the consumer-group protocol assigns."""

    def _open(self) -> None:
        super()._open()
        self._closing = False
        self.consumer.subscribe(
            list(self.config.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
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
            starts = self.starts((tp.topic, tp.partition) for tp in partitions)
        except (KafkaError, ck.KafkaException) as error:
            self._failure = error if isinstance(error, KafkaError) else KafkaError(describe(error.args[0]))
            starts = Starts()
        self._assign(starts.offsets, starts.identities)

    def _on_revoke(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        gone = {(tp.topic, tp.partition) for tp in partitions}
        self._removed_in_call |= gone
        self._remove(gone)
        consumer.incremental_unassign(partitions)
