"""A Kafka broker in memory, for ``memory_consumer.py`` and ``memory_producer.py``.

The real readers, writers, ``Session`` and ``Polling`` run on them, so that rebalances, fencing and failed commits can happen
at any chosen moment. ``test_memory_kafka.py`` has a test for each rule; those about librdkafka's own behaviour run on
librdkafka too.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import confluent_kafka as ck

from transforms.kafka.commit_metadata import commit_metadata
from transforms.kafka.config import KafkaConfig, Partition
from transforms.types import Headers, KafkaRecord

Source = tuple[str, int, int]

WITHOUT_GROUP = -1
"""The generation of a consumer that assigns its partitions itself: Kafka takes its offsets as they are."""


def refused(
    code: int, reason: str = "injected", *, retriable: bool = False, abort: bool = False, fatal: bool = False
) -> Any:
    """The exception that librdkafka's calls raise."""
    return ck.KafkaException(ck.KafkaError(code, reason, fatal=fatal, retriable=retriable, txn_requires_abort=abort))


class Message:
    """What ``poll`` gives: a record, or the end of a partition."""

    def __init__(self, record: KafkaRecord, error: int | None = None):
        self._record = record
        self._error = None if error is None else ck.KafkaError(error)

    def error(self) -> Any:
        return self._error

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return self._record.partition

    def offset(self) -> int:
        return self._record.offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def headers(self) -> Any:
        return self._record.headers or None

    def timestamp(self) -> tuple[int, int]:
        return (0, -1) if self._record.timestamp_ms is None else (1, self._record.timestamp_ms)


class Output(NamedTuple):
    """A record on its way to the broker."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers
    source: Source
    on_delivery: Callable[[Any, Any], None]


@dataclasses.dataclass
class Transaction:
    """One that is open.

    Attributes:
        epoch: Of its producer.
        expires_at: When the coordinator aborts it.
        outputs: What becomes visible with its commit.
        offsets: What is committed with it, with its metadata; nobody may read on from what was committed before, meanwhile
            (KIP-447).
    """

    epoch: int
    expires_at: float
    outputs: list[Source] = dataclasses.field(default_factory=list)
    offsets: dict[Partition, tuple[int, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class MemoryKafka:
    """The broker.

    Attributes:
        log: Of each input partition, which of its offsets, from 0 on, hold a record. The others are transaction markers,
            aborted or compacted records.
        low: Of each partition, the earliest offset that retention has left.
        committed: The group's committed offsets.
        metadata: What was committed beside them.
        cluster: Its id; empty for a broker without ids of topics.
        made: How often each topic was made again.
        outputs: The sources of the outputs that a read_committed reader sees, in the order of their commits.
        generation: Of the group; a rebalance moves it on.
        others: Partitions that other members hold.
        epochs: Transactional id to the epoch of its newest producer.
        transactions: Transactional id to its open transaction.
        clock: Seconds.
        wait: Lets so many seconds pass.
        commit_failures: Errors that the next calls of ``commit_transaction`` raise.
        send_failures: The same of ``send_offsets_to_transaction``.
        init_failures: The same of ``init_transactions``.
        begin_failures: The same of ``begin_transaction``, of what became of the producer since its last transaction.
        describe_failures: The same of ``describe_consumer_groups``.
        delivery_failures: Error codes that the next batches' first outputs fail with.
        refuses: The error code that a topic refuses an output with; ``None`` if it takes it.
        lost_answers: How many of the next commits succeed, but the producer is told of a time-out.
        hung_commits: How many of the next commits succeed, but the producer learns of it only after the transaction's
            time-out, when it is fenced.
        denied_commits: How many of the next commits succeed, but the producer is told that the transaction must be aborted;
            then Kafka does not take the abort.
        stuck: How many of the next calls that end a transaction never come to an end: called again they time out again.
        gone: Topics that were deleted.
        late: How many of the next answers about topics are of a broker that has not heard of their being made again.
        members: Name and id of the members of the group, besides ours.
    """

    log: dict[Partition, list[bool]]
    low: dict[Partition, int] = dataclasses.field(default_factory=dict)
    committed: dict[Partition, int] = dataclasses.field(default_factory=dict)
    metadata: dict[Partition, str] = dataclasses.field(default_factory=dict)
    cluster: str = "memory"
    made: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    outputs: list[Source] = dataclasses.field(default_factory=list)
    generation: int = 1
    others: set[Partition] = dataclasses.field(default_factory=set)
    epochs: dict[str, int] = dataclasses.field(default_factory=dict)
    transactions: dict[str, Transaction] = dataclasses.field(default_factory=dict)
    clock: Callable[[], float] = lambda: 0.0
    wait: Callable[[float], None] = lambda _: None
    commit_failures: list[Any] = dataclasses.field(default_factory=list)
    send_failures: list[Any] = dataclasses.field(default_factory=list)
    init_failures: list[Any] = dataclasses.field(default_factory=list)
    begin_failures: list[Any] = dataclasses.field(default_factory=list)
    describe_failures: list[Any] = dataclasses.field(default_factory=list)
    delivery_failures: list[int] = dataclasses.field(default_factory=list)
    refuses: Callable[[Output], int | None] = lambda _: None
    lost_answers: int = 0
    hung_commits: int = 0
    denied_commits: int = 0
    stuck: int = 0
    gone: set[str] = dataclasses.field(default_factory=set)
    late: int = 0
    members: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def records(self) -> list[Source]:
        """The sources of all input records, of topics as they are now."""
        return [
            (self.name(p[0]), p[1], offset)
            for p, present in self.log.items()
            for offset, there in enumerate(present)
            if there
        ]

    def name(self, topic: str) -> str:
        """What outcomes call a topic in their source: its name, and how often it was made again."""
        return f"{topic}#{self.made[topic]}" if self.made[topic] else topic

    def topic_id(self, topic: str) -> str:
        """The id of a topic."""
        return f"{topic}-{self.made[topic]}"

    def make_again(self, *log: list[bool], topic: str = "in", forget: bool = False) -> None:
        """Deletes a topic, if it is there, and makes it again with these records.

        Args:
            log: As in ``MemoryKafka.log``.
            topic: Its name.
            forget: Whether the coordinator has deleted the group's offsets with it; a late commit may bring them back.
        """
        self.gone.discard(topic)
        self.made[topic] += 1
        for partition in [it for it in self.log if it[0] == topic]:
            del self.log[partition]
            self.low.pop(partition, None)
            if forget:
                self.committed.pop(partition, None)
        self.log.update({(topic, number): present for number, present in enumerate(log)})

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commits offsets of the group, each with what stands beside it: by the names of topics, as Kafka does."""
        self.committed.update({partition: offset for partition, (offset, _) in offsets.items()})
        self.metadata.update({partition: metadata for partition, (_, metadata) in offsets.items()})

    def is_stable(self, partition: Partition) -> bool:
        """Whether no open transaction is about to commit an offset of the partition."""
        self.expire()
        return not any(partition in transaction.offsets for transaction in self.transactions.values())

    def others_work(self, partition: Partition, most: int) -> None:
        """Another member reads up to ``most`` offsets of a partition that it holds, and commits."""
        assert partition in self.others
        if not self.is_stable(partition) or partition[0] in self.gone or partition not in self.log:
            return  # it waits for the transaction's end, or for the topic
        mine = commit_metadata(identity=f"{self.topic_id(partition[0])}@{self.cluster}")
        start = self.committed.get(partition, 0) if self.metadata.get(partition, mine) == mine else 0
        stop = min(start + most, len(self.log[partition]))
        name = self.name(partition[0])
        self.outputs += [(name, partition[1], offset) for offset in range(start, stop) if self.log[partition][offset]]
        self.commit({partition: (max(start, stop), mine)})

    # ---- the transaction coordinator

    def init_producer(self, name: str) -> int:
        """Returns the epoch of a new producer of that name; those before it are fenced, their transaction aborted."""
        self.transactions.pop(name, None)
        self.epochs[name] = self.epochs.get(name, -1) + 1
        return self.epochs[name]

    def expire(self) -> None:
        """Aborts transactions that are open for too long, and fences their producers."""
        for name, transaction in list(self.transactions.items()):
            if self.clock() > transaction.expires_at:
                self.init_producer(name)

    def commit_transaction(self, name: str) -> None:
        transaction = self.transactions.pop(name)
        self.outputs += transaction.outputs
        self.commit(transaction.offsets)


class MemoryAdmin:
    """``confluent_kafka.admin.AdminClient``: who is in the group, and which topics there are."""

    def __init__(self, kafka: MemoryKafka):
        self._kafka = kafka

    def opened(self, config: KafkaConfig) -> MemoryAdmin:
        """What a ``TransactionalWriter`` calls in place of ``open_admin``."""
        return self

    def list_topics(self, topic: str | None = None, timeout: float = 0.0) -> Any:
        return SimpleNamespace(cluster_id=self._kafka.cluster)

    def describe_topics(self, topics: Any, **_: Any) -> dict[str, concurrent.futures.Future[Any]]:
        found: dict[str, concurrent.futures.Future[Any]] = {
            topic: concurrent.futures.Future() for topic in topics.topic_names
        }
        late, self._kafka.late = self._kafka.late > 0, max(0, self._kafka.late - 1)
        for topic, future in found.items():
            if topic in self._kafka.gone:
                future.set_exception(refused(ck.KafkaError.UNKNOWN_TOPIC_OR_PART))
            else:
                topic_id = f"{topic}-{self._kafka.made[topic] - 1}" if late else self._kafka.topic_id(topic)
                future.set_result(SimpleNamespace(partitions=[0, 1, 2], topic_id=topic_id))
        return found

    def describe_consumer_groups(self, groups: list[str]) -> Any:
        if self._kafka.describe_failures:
            raise self._kafka.describe_failures.pop(0)
        members = [
            SimpleNamespace(client_id=name, member_id=member, host="/10.0.0.7") for name, member in self._kafka.members
        ]
        found = SimpleNamespace(result=lambda timeout: SimpleNamespace(members=members))
        return dict.fromkeys(groups, found)
