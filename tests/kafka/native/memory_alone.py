"""A session without a sink on Kafka in memory, and a runner that runs its bundles by hand; for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.alone import AloneSession
from transforms.kafka.native.consumer import GroupReader

A, B = ("in", 0), ("in", 1)
Finalise = Callable[[], None]


class Alone:
    """A session, and a runner that runs its bundles by hand."""

    def __init__(
        self,
        *logs: list[bool],
        kafka: MemoryKafka | None = None,
        between: Callable[[], None] = lambda: None,
        reader: type[GroupReader] = GroupReader,
    ):
        self.now, self._reader = 100.0, reader
        self.kafka = kafka or MemoryKafka(
            {("in", number): log for number, log in enumerate(logs)}, clock=lambda: self.now, wait=self.wait
        )
        self.between = between
        self.steps: list[Callable[[], None]] = [lambda: self.consumer.assign(set(self.kafka.log))]
        self.number = 0
        self.open()

    def open(self) -> None:
        """A session of a new process."""
        self.consumer = MemoryConsumer(self.kafka, lambda _: self._step())
        self.session = AloneSession(
            KafkaConfig("memory:9092", ("in",), "group"),
            clock=lambda: self.now,
            sleep=self.wait,
            open_reader=lambda c, *_: self._reader(
                c, self.consumer.opened, MemoryAdmin(self.kafka).opened, lambda: self.now, self.wait
            ),
        )

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def _step(self) -> None:
        if self.steps:
            self.steps.pop(0)()
        self.between()

    def read(self, most: int = 100) -> list[tuple[int, int]]:
        """Begins a bundle and reads."""
        self.session.begin(self.number)
        return sorted((record.partition, record.offset) for record in self.session.poll(most, 0.1))

    def bundle(self, most: int = 100) -> tuple[list[tuple[int, int]], Finalise]:
        """A whole bundle that succeeds; it is not final yet."""
        found = self.read(most)
        finalise = self.session.hand_over()
        self.number += 1
        return found, finalise or (lambda: None)

    def idle(self) -> None:
        """A bundle in which nothing is read."""
        self.session.begin(self.number)
        self.session.poll_nothing(0.1)
        self.session.hand_over()
        self.number += 1
