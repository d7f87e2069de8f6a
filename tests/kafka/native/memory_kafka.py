"""Kafka in memory, behind what the project calls of confluent_kafka: one group member and "the others".

The real ``GroupReader``, ``TransactionalWriter``, ``Session`` and ``Polling`` run on it, so that rebalances, fencing and
failed commits can happen at any chosen moment. What is modelled, and where it comes from:

* rebalance callbacks run inside ``poll`` and ``consume``, between two records of the same call (librdkafka serves its queue
  in order, and what was taken from it before a revocation is still returned);
* a rebalance moves the generation on; offsets sent under an older one are refused, and the transaction has to be aborted
  (KIP-447);
* partitions taken from us are worked on by another member, which commits outputs and offsets of its own;
* an offset may hold no record (transaction markers, aborted or compacted records), and the end of a partition is told once,
  when the position comes to it (``enable.partition.eof``).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck

from transforms.kafka.config import Partition
from transforms.types import KafkaRecord

Source = tuple[str, int, int]


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


@dataclasses.dataclass
class MemoryKafka:
    """The broker.

    Attributes:
        log: Of each input partition, which of its offsets, from 0 on, hold a record.
        low: Of each partition, the earliest offset that retention has left.
        committed: The group's committed offsets.
        outputs: The sources of the outputs that a read_committed reader sees, in the order of their commits.
        generation: Of the group; a rebalance moves it on.
        others: Partitions that other members hold.
        commit_failures: Errors that the next calls of ``commit_transaction`` raise.
        send_failures: The same of ``send_offsets_to_transaction``.
    """

    log: Mapping[Partition, list[bool]]
    low: dict[Partition, int] = dataclasses.field(default_factory=dict)
    committed: dict[Partition, int] = dataclasses.field(default_factory=dict)
    outputs: list[Source] = dataclasses.field(default_factory=list)
    generation: int = 1
    others: set[Partition] = dataclasses.field(default_factory=set)
    commit_failures: list[Any] = dataclasses.field(default_factory=list)
    send_failures: list[Any] = dataclasses.field(default_factory=list)

    def records(self) -> list[Source]:
        """The sources of all input records."""
        return [(*p, offset) for p, present in self.log.items() for offset, there in enumerate(present) if there]

    def others_work(self, partition: Partition, most: int) -> None:
        """Another member reads up to ``most`` offsets of a partition that it holds, and commits."""
        assert partition in self.others
        start = self.committed.get(partition, 0)
        stop = min(start + most, len(self.log[partition]))
        self.outputs += [(*partition, offset) for offset in range(start, stop) if self.log[partition][offset]]
        self.committed[partition] = max(start, stop)


class MemoryConsumer:
    """``confluent_kafka.Consumer``, of one member.

    Args:
        kafka: The broker.
        between: Called before each message that is handed over, and once a call: where rebalances happen.
    """

    def __init__(self, kafka: MemoryKafka, between: Callable[[MemoryConsumer], None] = lambda _: None, seed: int = 0):
        self._kafka, self._between, self._random = kafka, between, random.Random(seed)
        self.properties: dict[str, Any] = {}
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.closed = False
        self.commits: list[dict[Partition, int]] = []
        self._ended: set[Partition] = set()
        self._generation = 0
        self._callbacks: dict[str, Any] = {}
        self._lost: set[Partition] = set()
        self._unanswered: list[ck.KafkaError | None] = []  # asynchronous commits

    # ---- made and subscribed

    def opened(self, properties: dict[str, Any], **_: Any) -> MemoryConsumer:
        """What ``Reader`` calls in place of ``ck.Consumer``."""
        self.properties = properties
        return self

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._callbacks = callbacks

    # ---- rebalances, started by the test

    def assign(self, partitions: set[Partition]) -> None:
        """The group gives us partitions; call it in ``between``."""
        new = {p for p in partitions if p not in self.positions}
        self._kafka.others -= new
        self._kafka.generation += 1
        self._generation = self._kafka.generation
        self._callbacks["on_assign"](self, [ck.TopicPartition(*p) for p in sorted(new)])

    def revoke(self, partitions: set[Partition]) -> None:
        """The group takes partitions from us, and we agree; call it in ``between``."""
        gone = partitions & set(self.positions)
        self._kafka.generation += 1
        self._generation = self._kafka.generation
        self._callbacks["on_revoke"](self, [ck.TopicPartition(*p) for p in sorted(gone)])
        self._kafka.others |= gone

    def expel(self) -> None:
        """The group gives us up for dead: others go on at once, and we learn it at the next poll. At any moment."""
        self._kafka.generation += 1
        self._lost |= set(self.positions)
        self._kafka.others |= set(self.positions)

    def _serve(self) -> None:
        for answer in [self._unanswered.pop(0) for _ in range(len(self._unanswered))]:
            self.properties["on_commit"](answer, [])
        if self._lost:
            lost, self._lost = self._lost, set()
            self._generation = self._kafka.generation
            self._callbacks["on_lost"](self, [ck.TopicPartition(*p) for p in sorted(lost)])
        self._between(self)

    # ---- reading

    def poll(self, timeout: float) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        while len(found) < most:
            self._serve()
            message = self._next()
            if message is None:
                break
            found.append(message)
        return found

    def _next(self) -> Message | None:
        ready = [p for p in sorted(self.positions) if p not in self.paused and p not in self._lost]
        self._random.shuffle(ready)
        for partition in ready:
            present = self._kafka.log[partition]
            while self.positions[partition] < len(present):
                offset = self.positions[partition]
                self.positions[partition] += 1
                if present[offset]:
                    return Message(KafkaRecord(*partition, offset, 1_000 + offset, b"k", b"v", []))
            if partition not in self._ended:
                self._ended.add(partition)
                end = KafkaRecord(*partition, len(present), None, None, None, [])
                return Message(end, ck.KafkaError._PARTITION_EOF)
        return None

    def seek(self, target: Any) -> None:
        partition = target.topic, target.partition
        if partition not in self.positions:
            raise refused(ck.KafkaError._STATE, "Erroneous state")
        self.positions[partition] = target.offset
        self._ended.discard(partition)

    def pause(self, partitions: list[Any]) -> None:
        self.paused |= {(tp.topic, tp.partition) for tp in partitions}

    def resume(self, partitions: list[Any]) -> None:
        self.paused -= {(tp.topic, tp.partition) for tp in partitions}

    def incremental_assign(self, partitions: list[Any]) -> None:
        for tp in partitions:
            self.positions[tp.topic, tp.partition] = tp.offset
            self._ended.discard((tp.topic, tp.partition))
            self.paused.discard((tp.topic, tp.partition))

    def incremental_unassign(self, partitions: list[Any]) -> None:
        for tp in partitions:
            del self.positions[tp.topic, tp.partition]
            self.paused.discard((tp.topic, tp.partition))

    # ---- offsets

    def consumer_group_metadata(self) -> int:
        return self._generation

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        return [
            ck.TopicPartition(tp.topic, tp.partition, self._kafka.committed.get((tp.topic, tp.partition), -1001))
            for tp in partitions
        ]

    def get_watermark_offsets(self, tp: Any, timeout: float, cached: bool) -> tuple[int, int]:
        partition = tp.topic, tp.partition
        return self._kafka.low.get(partition, 0), len(self._kafka.log[partition])

    def commit(self, offsets: list[Any], asynchronous: bool) -> None:
        if self._generation != self._kafka.generation:
            if not asynchronous:
                raise refused(ck.KafkaError.ILLEGAL_GENERATION)
            self._unanswered.append(ck.KafkaError(ck.KafkaError.ILLEGAL_GENERATION))
            return
        self.commits.append({(tp.topic, tp.partition): tp.offset for tp in offsets})
        self._kafka.committed.update(self.commits[-1])
        if asynchronous:
            self._unanswered.append(None)

    def list_topics(self, topic: str, timeout: float) -> Any:
        numbers = {number: None for name, number in self._kafka.log if name == topic}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=numbers)})

    def close(self) -> None:
        self.closed = True


class MemoryProducer:
    """``confluent_kafka.Producer``, transactional or not."""

    def __init__(self, kafka: MemoryKafka):
        self._kafka = kafka
        self.properties: dict[str, Any] = {}
        self.produced: list[tuple[Any, ...]] = []
        self.open = False
        self.aborted = 0
        self.full = 0
        self._outputs: list[Source] = []
        self._offsets: dict[Partition, int] = {}

    def opened(self, properties: dict[str, Any], **_: Any) -> MemoryProducer:
        """What ``Writer`` calls in place of ``ck.Producer``."""
        self.properties = properties
        return self

    def init_transactions(self, timeout: float) -> None: ...

    def begin_transaction(self) -> None:
        assert not self.open, "librdkafka refuses to begin a second one"
        self.open, self._outputs, self._offsets = True, [], {}

    def produce(self, topic: str, value: Any, key: Any, partition: int, *rest: Any) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.produced.append((topic, key, value, partition, *rest))
        headers = dict(rest[-1])
        where, number, offset = headers["inference.source"].decode().split("/")
        source = where, int(number), int(offset)
        if "transactional.id" in self.properties:
            assert self.open
            self._outputs.append(source)
        else:
            self._kafka.outputs.append(source)

    def send_offsets_to_transaction(self, offsets: list[Any], group: int, timeout: float) -> None:
        if self._kafka.send_failures:
            raise self._kafka.send_failures.pop(0)
        if group != self._kafka.generation:
            raise refused(ck.KafkaError.ILLEGAL_GENERATION, "Specified group generation id is not valid", abort=True)
        self._offsets = {(tp.topic, tp.partition): tp.offset for tp in offsets}

    def commit_transaction(self, timeout: float) -> None:
        if self._kafka.commit_failures:
            raise self._kafka.commit_failures.pop(0)
        assert self.open
        self._kafka.outputs += self._outputs
        self._kafka.committed.update(self._offsets)
        self.open = False

    def abort_transaction(self, timeout: float) -> None:
        assert self.open
        self.open, self._outputs, self._offsets = False, [], {}
        self.aborted += 1

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None, 1: None, 2: None})})

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return 0

    def purge(self) -> None: ...
