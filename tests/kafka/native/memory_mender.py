"""``Mender`` on Kafka in memory: the limits that a test says, and the input records of the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tests.kafka.native.memory_kafka import MemoryKafka, Source
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.mending import Mender
from transforms.kafka.topic_limits import TopicLimits
from transforms.types import KafkaRecord

ORIGINAL = b'{"x": 1}'


class MemoryOriginals:
    """``Originals``."""

    def __init__(self, kafka: MemoryKafka):
        self._kafka = kafka
        self.read_again: list[Source] = []

    def read(self, sources: Collection[Source]) -> dict[Source, KafkaRecord]:
        self.read_again += sorted(sources)
        there = set(self._kafka.records())
        return {s: KafkaRecord(*s, 1_000 + s[2], b"k", ORIGINAL, [("h", b"1")]) for s in sources if s in there}

    def close(self) -> None:
        pass


def memory_mender(
    kafka: MemoryKafka,
    limits: Mapping[str, TopicLimits] | None = None,
    now: Callable[[], float] = lambda: 1_000_000.0,
    originals: MemoryOriginals | None = None,
) -> Callable[[KafkaConfig], Mender]:
    """What a ``Session`` calls in place of ``Mender``."""
    found = originals or MemoryOriginals(kafka)
    return lambda config: Mender(config, lambda _: limits or {}, found, kafka.clock, now)
