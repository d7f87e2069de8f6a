"""A shard that takes over a partition fences whoever has claimed it, also where the topic was deleted and made again."""

from __future__ import annotations

import dataclasses

import pytest

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_job import A
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka
from tests.kafka.native.memory_mender import memory_mender
from tests.kafka.native.memory_producer import MemoryProducer
from tests.kafka.native.test_exactly_once import open_memory_writer, outcome
from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import claim_in, identity_in
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.static_reader import StaticReader

CONFIG = KafkaConfig("memory:9092", ("in",), "group", assignment="static")


class Hung(StaticReader):
    """The reader of a process that is stopped just before its commit: it has asked for its topics already."""

    def confirm(self) -> None:
        pass


class Shard:
    """A process that reads all partitions, by its name."""

    def __init__(self, kafka: MemoryKafka, name: str):
        self.kafka = kafka
        self.consumer = MemoryConsumer(kafka)
        self.session = Session(
            dataclasses.replace(CONFIG, instance_id=name),
            sleep=lambda _: None,
            open_writer=lambda c: open_memory_writer(c, MemoryProducer(kafka), kafka.clock),
            open_reader=lambda c, shard, shards, claim: Hung(
                c, shard, shards, self.consumer.opened, claim, MemoryAdmin(kafka).opened, kafka.clock, kafka.wait
            ),
            open_mender=memory_mender(kafka),
            claim=True,
        )

    def read(self, most: int) -> list[int]:
        self.session.begin()
        self.records = self.session.poll(most, 0.1, fill=True)
        self.session.write([outcome(record) for record in self.records])
        return [record.offset for record in self.records]

    def commit(self) -> None:
        """Commits what was read."""
        self.session.commit()


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka({A: [True] * 6})


@pytest.mark.parametrize("made_again", [False, True])
def test_a_zombie_is_fenced(kafka: MemoryKafka, made_again: bool) -> None:
    """It has read all and hangs before its commit, while a shard of another name takes over: the job has fewer shards now.

    Were it not fenced, its commit would put the former topic's offset in place of the new one's, and whoever starts next
    would answer the new topic again.
    """
    zombie = Shard(kafka, "1-of-2")
    assert zombie.read(3) == [0, 1, 2]
    zombie.commit()
    assert zombie.read(3) == [3, 4, 5]
    if made_again:
        kafka.make_again([True] * 4)
    successor = Shard(kafka, "0-of-1")
    assert successor.read(9) == ([0, 1, 2, 3] if made_again else [3, 4, 5])
    successor.commit()
    with pytest.raises(KafkaError, match=r"fenced|newer"):
        zombie.commit()
    taken_over = [(kafka.name("in"), 0, record.offset) for record in successor.records]
    assert kafka.outputs == [("in", 0, 0), ("in", 0, 1), ("in", 0, 2), *taken_over]
    assert claim_in(kafka.metadata[A]) == "group-0-of-1"
    assert identity_in(kafka.metadata[A]) == f"{kafka.topic_id('in')}@memory"


def test_a_first_offset_keeps_the_claim_of_the_former_topics(kafka: MemoryKafka) -> None:
    """A shard that is killed between its first offset and its claim leaves the zombie to the next one."""
    zombie = Shard(kafka, "1-of-2")
    zombie.read(3)
    zombie.commit()
    kafka.make_again([True])
    reader = StaticReader(CONFIG, 0, 1, MemoryConsumer(kafka).opened, None, MemoryAdmin(kafka).opened)
    reader.consume(1, 0.0)
    assert kafka.committed[A] == 0
    assert claim_in(kafka.metadata[A]) == "group-1-of-2"
