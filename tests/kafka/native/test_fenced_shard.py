"""A shard that another process takes over while Kafka has refused a batch of it: its new producer must fence nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_kafka import MemoryAdmin
from tests.kafka.native.memory_mender import MemoryOriginals
from tests.kafka.native.test_exactly_once import open_memory_writer, outcome
from tests.kafka.native.test_two_owners import CONFIG, TurningConsumer, TurningProducer, World, doubled
from transforms.errors import FencedError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.mending import Mender
from transforms.kafka.native.session import Session
from transforms.kafka.native.states import CommitResult
from transforms.kafka.native.static_reader import StaticReader
from transforms.kafka.topic_limits import TopicLimits


class Shards:
    """One shard of Flink's, in two processes; ``meanwhile`` happens while the first one asks why Kafka refused it."""

    def __init__(self, moving: bool, meanwhile: Callable[[Shards], None] | None) -> None:
        self.world, self._meanwhile = World([5], seed=1), meanwhile
        self.world.turns.seldom = -1
        self.world.config = dataclasses.replace(CONFIG, shards_move=moving, max_bundle_records=100, instance_id="shard-0")
        self.refuse(1, 2)

    def refuse(self, *offsets: int) -> None:
        code = ck.KafkaError.MSG_SIZE_TOO_LARGE
        self.world.kafka.refuses = lambda it: code if it.topic == "out" and it.source[2] in offsets else None

    def open(self) -> Session:
        world = self.world

        def open_reader(config: KafkaConfig, shard: int, shards: int, claim: Any) -> StaticReader:
            consumer, admin = TurningConsumer(world.kafka, world.turns), MemoryAdmin(world.kafka)
            return StaticReader(config, shard, shards, consumer.opened, claim, admin.opened, lambda: world.now, world.wait)

        def open_writer(config: KafkaConfig) -> Any:
            return open_memory_writer(config, TurningProducer(world.kafka, world.turns), lambda: world.now)

        def open_mender(config: KafkaConfig) -> Mender:
            return Mender(config, self._limits, MemoryOriginals(world.kafka), lambda: world.now, lambda: 1e6)

        clock, sleep = (lambda: world.now), (lambda seconds: world.wait(0.1))
        return Session(world.config, 0, 1, clock, sleep, open_writer, open_reader, open_mender=open_mender, claim=True)

    def _limits(self, topics: Iterable[str]) -> Mapping[str, TopicLimits]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile(self)
        return {}

    def answered_by_another(self) -> None:
        """Another process takes the shard over, answers all of it, and has ended before the first one goes on."""
        self.refuse()
        other = self.open()
        other.begin()
        other.write([outcome(record) for record in other.poll(100, 0.1)])
        assert other.commit() is CommitResult.FINAL


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("too_old", [False, True])
def test_who_was_fenced_meanwhile_commits_nothing(moving: bool, too_old: bool) -> None:
    """Found at the commit, or by a transaction that has grown too old before it."""
    shards = Shards(moving, Shards.answered_by_another)
    first = shards.open()
    first.begin()
    records = first.poll(100, 0.1)
    first.write([outcome(record) for record in records[:4]])
    if too_old:
        first.writer.producer.flush(1)
        shards.world.now += 6.0
    else:
        first.write([outcome(record) for record in records[4:]])
    with pytest.raises(FencedError, match="a newer process has gone on with in/0"):
        _ = first.keep_alive() if too_old else first.commit()
    assert len(shards.world.kafka.outputs) == 5
    assert doubled(shards.world.kafka.outputs) == []


@pytest.mark.parametrize("moving", [False, True])
def test_who_was_not_fenced_goes_on_with_its_bundle(moving: bool) -> None:
    shards = Shards(moving, None)
    session = shards.open()
    session.begin()
    session.write([outcome(record) for record in session.poll(100, 0.1)])
    assert session.commit() is not CommitResult.ROLLED_BACK
    assert session.finish_commit()
    assert shards.world.kafka.committed == {("in", 0): 5}
    assert doubled(shards.world.kafka.outputs) == []
