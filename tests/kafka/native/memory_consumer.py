"""``confluent_kafka.Consumer`` on the broker in memory: one member of the group.

* Rebalance callbacks run inside ``poll`` and ``consume``, between two records of the same call (librdkafka serves its queue
  in order, and returns records taken from it before a revocation), and inside ``close``.
* A callback has to assign and unassign by itself; assigning twice or unassigning what is not assigned is an error.
* A partition that was paused stays so when it is taken away and comes back.
* Only an assigned partition can be sought.
* The end of a partition is told once when the position comes to it (``enable.partition.eof``), and again after a resume.
* A topic that is gone gives nothing, and no error. One that is made again is read on from the former position.
* A position without a record to go on from is an error (``auto.offset.reset=error``).
* A rebalance moves the generation on; offsets committed under an older one are refused.
* After ``close`` nothing works.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck

from tests.kafka.native.memory_kafka import WITHOUT_GROUP, MemoryKafka, Message, refused
from transforms.kafka.config import Partition
from transforms.types import KafkaRecord

OURS = "our member"


def names(partitions: list[Any]) -> set[Partition]:
    return {(tp.topic, tp.partition) for tp in partitions}


class MemoryConsumer:
    """A consumer.

    Args:
        kafka: The broker.
        between: Called before each message that is handed over, and once a call: where rebalances happen.
        seed: Of the order in which partitions give their records.

    Attributes:
        unready: How many of the next seeks fail because the partition's fetcher has not started.
        stray: How many records, fetched before all partitions were paused, come nevertheless.
        refusals: The errors that the next messages are, in place of records.
        generation: The group's, as far as this member knows.
    """

    def __init__(self, kafka: MemoryKafka, between: Callable[[MemoryConsumer], None] = lambda _: None, seed: int = 0):
        self._kafka, self._between, self._random = kafka, between, random.Random(seed)
        self.properties: dict[str, Any] = {}
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.closed = False
        self.opens = 0
        self.commits: list[dict[Partition, int]] = []
        self.unready = self.stray = 0
        self.refusals: list[int] = []
        self._known: set[Partition] = set()  # assigned now or before
        self._ended: set[Partition] = set()
        self.generation = 0
        self._callbacks: dict[str, Any] = {}
        self._lost: set[Partition] = set()
        self._unanswered: list[ck.KafkaError | None] = []  # asynchronous commits
        self.member = OURS

    # ---- made and subscribed

    def opened(self, properties: dict[str, Any], **_: Any) -> MemoryConsumer:
        """What ``Reader`` calls in place of ``ck.Consumer``: a new consumer, which knows nothing of one before."""
        self.properties, self.closed, self.opens = properties, False, self.opens + 1
        for forgotten in (self.positions, self.paused, self._known, self._ended, self._lost, self._unanswered):
            forgotten.clear()
        return self

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._callbacks = callbacks

    def memberid(self) -> str:
        self._check_open()
        return self.member

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("Consumer closed")

    # ---- rebalances, started by the test

    def assign(self, partitions: set[Partition]) -> None:
        """The group gives us partitions; call it in ``between``."""
        new = {p for p in partitions if p not in self.positions}
        self._kafka.others -= new
        self._kafka.generation += 1
        self.generation = self._kafka.generation
        self._callbacks["on_assign"](self, [ck.TopicPartition(*p) for p in sorted(new)])

    def revoke(self, partitions: set[Partition]) -> None:
        """The group takes partitions from us, and we agree; call it in ``between``."""
        gone = partitions & set(self.positions)
        self._kafka.generation += 1
        self.generation = self._kafka.generation
        self._take("on_revoke", gone)
        self._kafka.others |= gone

    def expel(self) -> None:
        """The group gives us up for dead: others go on at once, and we learn it at the next poll. At any moment."""
        self._kafka.generation += 1
        self._lost |= set(self.positions)
        self._kafka.others |= set(self.positions)

    def _take(self, callback: str, partitions: set[Partition]) -> None:
        self._callbacks[callback](self, [ck.TopicPartition(*p) for p in sorted(partitions)])
        assert not partitions & set(self.positions), "a callback that does not unassign keeps what is not ours"

    def _serve(self) -> None:
        for answer in [self._unanswered.pop(0) for _ in range(len(self._unanswered))]:
            self.properties["on_commit"](answer, [])
        if self._lost:
            lost, self._lost = self._lost, set()
            self.generation = self._kafka.generation
            self._take("on_lost", lost)
        self._between(self)

    # ---- reading

    def poll(self, timeout: float) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        self._check_open()
        found: list[Message] = []
        while len(found) < most:
            self._serve()
            message = self._next()
            if message is None:
                break
            found.append(message)
        return found

    def _next(self) -> Message | None:
        if self.refusals:
            return Message(KafkaRecord("in", 0, 0, None, None, None, []), self.refusals.pop(0))
        there = {p for p in self.positions if p in self._kafka.log and p[0] not in self._kafka.gone}
        ready = [p for p in sorted(there) if p not in self.paused and p not in self._lost]
        if self.stray and self.paused >= set(self.positions):
            self.stray -= 1
            ready = sorted(set(self.positions) - self._lost)
        self._random.shuffle(ready)
        for partition in ready:
            present, position = self._kafka.log[partition], self.positions[partition]
            if not self._kafka.low.get(partition, 0) <= position <= len(present):
                where = KafkaRecord(*partition, position, None, None, None, [])
                return Message(where, ck.KafkaError._AUTO_OFFSET_RESET)
            while self.positions[partition] < len(present):
                offset = self.positions[partition]
                self.positions[partition] += 1
                if present[offset]:
                    key = b"k%d" % self._kafka.made[partition[0]] if self._kafka.made[partition[0]] else b"k"
                    return Message(KafkaRecord(*partition, offset, 1_000 + offset, key, b"v", []))
            if partition not in self._ended:
                self._ended.add(partition)
                end = KafkaRecord(*partition, len(present), None, None, None, [])
                return Message(end, ck.KafkaError._PARTITION_EOF)
        return None

    def seek(self, target: Any) -> None:
        self._check_open()
        partition = target.topic, target.partition
        if partition not in self._known:
            raise refused(ck.KafkaError._UNKNOWN_PARTITION, "Unknown partition")
        if partition not in self.positions or self.unready:
            self.unready = max(0, self.unready - 1)
            raise refused(ck.KafkaError._STATE, "Erroneous state")
        self.positions[partition] = target.offset
        self._ended.discard(partition)

    def pause(self, partitions: list[Any]) -> None:
        self._check_open()
        self.paused |= names(partitions) & self._known

    def resume(self, partitions: list[Any]) -> None:
        self._check_open()
        self._ended -= names(partitions) & self.paused
        self.paused -= names(partitions)

    def incremental_assign(self, partitions: list[Any]) -> None:
        self._check_open()
        if again := names(partitions) & set(self.positions):
            raise refused(ck.KafkaError._CONFLICT, f"{again} is already part of the current assignment")
        for tp in partitions:
            self.positions[tp.topic, tp.partition] = tp.offset
        self._known |= names(partitions)
        self._ended -= names(partitions)

    def incremental_unassign(self, partitions: list[Any]) -> None:
        self._check_open()
        if unknown := names(partitions) - set(self.positions):
            raise refused(ck.KafkaError._INVALID_ARG, f"{unknown} is not in the current assignment")
        for partition in names(partitions):
            del self.positions[partition]

    # ---- offsets

    def consumer_group_metadata(self) -> int:
        self._check_open()
        return self.generation if self._callbacks else WITHOUT_GROUP

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        self._check_open()
        for partition in names(partitions):
            if not self._kafka.is_stable(partition):
                self._kafka.wait(1.0)  # librdkafka asks again and again, until its time-out
                raise refused(ck.KafkaError.UNSTABLE_OFFSET_COMMIT)
        kafka = self._kafka
        found = [
            (tp, kafka.committed.get((tp.topic, tp.partition), -1001), kafka.metadata.get((tp.topic, tp.partition), ""))
            for tp in partitions
        ]
        return [ck.TopicPartition(tp.topic, tp.partition, offset, metadata) for tp, offset, metadata in found]

    def get_watermark_offsets(self, tp: Any, timeout: float, cached: bool) -> tuple[int, int]:
        self._check_open()
        partition = tp.topic, tp.partition
        if tp.topic in self._kafka.gone or partition not in self._kafka.log:
            raise refused(ck.KafkaError._UNKNOWN_PARTITION)
        return self._kafka.low.get(partition, 0), len(self._kafka.log[partition])

    def commit(self, offsets: list[Any], asynchronous: bool) -> list[Any]:
        self._check_open()
        if self._callbacks and self.generation != self._kafka.generation:
            if not asynchronous:
                raise refused(ck.KafkaError.ILLEGAL_GENERATION)
            self._unanswered.append(ck.KafkaError(ck.KafkaError.ILLEGAL_GENERATION))
            return []
        if any(tp.topic in self._kafka.gone for tp in offsets):
            if not asynchronous:
                raise refused(ck.KafkaError.UNKNOWN_TOPIC_OR_PART)
            self._unanswered.append(ck.KafkaError(ck.KafkaError.UNKNOWN_TOPIC_OR_PART))
            return []
        self.commits.append({(tp.topic, tp.partition): tp.offset for tp in offsets})
        self._kafka.commit({(tp.topic, tp.partition): (tp.offset, tp.metadata or "") for tp in offsets})
        if asynchronous:
            self._unanswered.append(None)
        return [ck.TopicPartition(tp.topic, tp.partition, tp.offset) for tp in offsets]

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._check_open()
        numbers = {number: None for name, number in self._kafka.log if name == topic}
        numbers = {} if topic in self._kafka.gone else numbers
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=numbers)}, cluster_id=self._kafka.cluster)

    def close(self) -> None:
        if not self.closed and self._callbacks:
            self._take("on_revoke", set(self.positions))
        self.closed = True
