"""A session on Kafka in memory, and the hands that turn it; for the tests of this folder."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka
from tests.kafka.native.memory_mender import MemoryOriginals, memory_mender
from tests.kafka.native.memory_producer import MemoryProducer
from tests.kafka.native.test_exactly_once import open_memory_writer, outcome
from transforms.kafka.config import EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.commits import OVERLAP_FROM
from transforms.kafka.native.consumer import GroupReader
from transforms.kafka.native.session import Session
from transforms.kafka.topic_limits import TopicLimits
from transforms.observe import Ages, DeadLetterKind, Observer, RollbackCause
from transforms.types import KafkaRecord

A, B = ("in", 0), ("in", 1)


class Recorder(Observer):
    def __init__(self) -> None:
        self.rollbacks: list[str] = []
        self.causes: list[RollbackCause] = []
        self.after: list[tuple[list[float], float | None]] = []
        self.commits: list[tuple[int, dict[DeadLetterKind, int], list[tuple[float, int]]]] = []
        self.owned: list[list[str]] = []
        self.unanswered: list[int] = []

    def committed(self, predictions: int, dead_letters: object, latencies_s: object) -> None:
        self.commits.append((predictions, dict(dead_letters), list(latencies_s)))  # type: ignore[call-overload]

    def committed_after(self, ages_s: Ages, transaction_s: float | None) -> None:
        self.after.append((list(ages_s), transaction_s))

    def rolled_back(self, reason: str, cause: RollbackCause) -> None:
        self.rollbacks.append(reason)
        self.causes.append(cause)

    def left_unanswered(self, records: int) -> None:
        self.unanswered.append(records)

    def assigned(self, partitions: object) -> None:
        self.owned.append(list(partitions))  # type: ignore[call-overload]


class Job:
    """A session, and the hands that turn it."""

    def __init__(
        self,
        *logs: list[bool],
        delivery: str = EXACTLY_ONCE,
        assign: bool = True,
        overlap_from: int = OVERLAP_FROM,
        background: concurrent.futures.Executor | None = None,
        kafka: MemoryKafka | None = None,
        limits: Mapping[str, TopicLimits] | None = None,
        originals: Callable[[MemoryKafka], MemoryOriginals] = MemoryOriginals,
        admin: Callable[[MemoryKafka], MemoryAdmin] = MemoryAdmin,
        **options: object,
    ):
        self.now = 100.0
        self.kafka = kafka or MemoryKafka(
            {("in", number): log for number, log in enumerate(logs)}, clock=lambda: self.now, wait=self.wait
        )
        self.steps: list[Callable[[], None] | None] = []
        self.consumer = MemoryConsumer(self.kafka, lambda _: self._step())
        self.producer = MemoryProducer(self.kafka)
        config = KafkaConfig("memory:9092", ("in",), "group", delivery=delivery, **options)  # type: ignore[arg-type]
        self.session = Session(
            config,
            clock=lambda: self.now,
            sleep=lambda _: None,
            open_writer=lambda c: open_memory_writer(c, self.producer, lambda: self.now),
            open_reader=lambda c, *_: GroupReader(
                c, self.consumer.opened, admin(self.kafka).opened, lambda: self.now, self.wait
            ),
            overlap_from=overlap_from,
            background=background,
            open_mender=memory_mender(self.kafka, limits, originals=originals(self.kafka)),
        )
        if assign:
            self.steps.append(lambda: self.consumer.assign(set(self.kafka.log)))

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def _step(self) -> None:
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            step()

    def read(self, most: int = 100, timeout_s: float = 0.1) -> list[tuple[int, int]]:
        self.records = self.session.poll(most, timeout_s)
        return sorted((record.partition, record.offset) for record in self.records)

    def write(self, records: list[KafkaRecord] | None = None) -> None:
        self.session.write([outcome(record) for record in (self.records if records is None else records)])

    def bundle(self) -> list[tuple[int, int]]:
        """Begins, reads, writes and commits one."""
        self.session.begin()
        found = self.read()
        self.write()
        self.session.commit()
        return found
