"""A group seen from outside: what its committed offsets tell."""

from __future__ import annotations

import dataclasses
from typing import Any

import confluent_kafka as ck

from tests.kafka.native.memory_kafka import refused
from transforms.kafka.admin.progress import ENDS_S, Progress
from transforms.kafka.config import KafkaConfig

A, B = ("in", 0), ("in", 1)


@dataclasses.dataclass
class FakeKafka:
    committed_offsets: dict[Any, int]
    low: int = 0
    high: int = 100
    down: bool = False

    def opened(self, properties: dict[str, Any]) -> FakeKafka:
        return self

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        if self.down:
            raise refused(ck.KafkaError._TIMED_OUT)
        return [
            ck.TopicPartition(tp.topic, tp.partition, self.committed_offsets.get((tp.topic, tp.partition), -1001))
            for tp in partitions
        ]

    def get_watermark_offsets(self, tp: Any, timeout: float, cached: bool) -> tuple[int, int]:
        if self.down:
            raise refused(ck.KafkaError._TIMED_OUT)
        return self.low, self.high

    def close(self) -> None: ...


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


def watch(kafka: FakeKafka, clock: Clock) -> Progress:
    return Progress(KafkaConfig("h:1", ("in",), "g"), [A, B], clock, kafka.opened)


def test_what_was_committed_since_the_start_and_what_is_left() -> None:
    """A partition without a commit counts from its earliest record."""
    kafka, clock = FakeKafka({A: 40}, low=10), Clock()
    progress = watch(kafka, clock)
    assert (progress.look(), progress.left()) == (0, 60 + 90)
    kafka.committed_offsets = {A: 50, B: 25}
    assert progress.look() == 10 + 15
    assert progress.left() == 50 + 75
    kafka.high = 200
    assert progress.left() == 50 + 75, "the ends are not asked for all the time"
    clock.now += ENDS_S + 1
    assert progress.left() == 150 + 175


def test_when_the_group_has_committed_its_end_offsets() -> None:
    kafka, clock = FakeKafka({A: 40}), Clock()
    progress = watch(kafka, clock)
    assert not progress.has_committed({A: 50})
    kafka.committed_offsets[A] = 50
    progress.look()
    assert progress.has_committed({A: 50})
    assert not progress.has_committed({A: 50, B: 0})
    assert progress.has_committed({})


def test_for_how_long_nothing_has_moved() -> None:
    kafka, clock = FakeKafka({A: 40}), Clock()
    progress = watch(kafka, clock)
    kafka.committed_offsets[B] = 0  # the job has begun, at its first record
    progress.look()
    clock.now += 5
    progress.look()
    assert (progress.still_s, progress.moving_s) == (5, 0)
    kafka.committed_offsets[A] = 41
    progress.look()
    clock.now += 3
    kafka.committed_offsets[A] = 42
    progress.look()
    assert (progress.still_s, progress.moving_s) == (0, 3)


def test_while_kafka_is_away_the_last_answer_stands() -> None:
    kafka, clock = FakeKafka({A: 40}), Clock()
    progress = watch(kafka, clock)
    kafka.committed_offsets[A] = 45
    progress.look()
    kafka.down = True
    assert progress.look() == 5
    clock.now += ENDS_S + 1
    assert progress.left() == 0, "nothing was ever known of the ends"


def test_there_is_never_less_than_nothing_left() -> None:
    """The ends are asked for now and then, the committed offsets at every look: these may be ahead."""
    kafka, clock = FakeKafka({A: 90, B: 100}), Clock()
    progress = watch(kafka, clock)
    assert progress.left() == 10
    kafka.committed_offsets = {A: 150, B: 95}
    progress.look()
    assert progress.left() == 5, "what is committed beyond one end takes nothing from what is left of another"
