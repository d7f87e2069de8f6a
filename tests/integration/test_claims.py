"""Shards that a runner places, on a real Kafka: a job in another number of shards fences what is left of the former."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests import topics
from tests.integration.process import START_S
from transforms.errors import FencedError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.states import CommitResult
from transforms.types import KafkaRecord, OutputRecord

OpenShard = Callable[[int, int], Session]


@pytest.fixture
def config(kafka: str) -> KafkaConfig:
    """A job on four partitions, with 10 records in each."""
    name = uuid4().hex[:8]
    topics.create_topic(kafka, f"in-{name}", 4)
    topics.create_topic(kafka, f"out-{name}")
    topics.produce(kafka, f"in-{name}", (b"%d" % i for i in range(40)), partitions=(i % 4 for i in range(40)))
    return KafkaConfig(kafka, (f"in-{name}",), f"group-{name}", "shard", assignment="static")


@pytest.fixture
def shard(config: KafkaConfig) -> Iterator[OpenShard]:
    """Opens shard *i* of *n*, as a worker does."""
    opened: list[Session] = []

    def open_shard(index: int, count: int) -> Session:
        opened.append(Session(config.of_shard(index), index, count, claim=True))
        return opened[-1]

    yield open_shard
    for session in opened:
        session.discard()


def read(session: Session) -> list[KafkaRecord]:
    """One bundle, up to the ends of its partitions."""
    session.begin()
    records: list[KafkaRecord] = []
    stop_at = time.monotonic() + START_S
    while len(records) < 10 * len(session.reader.owned or "?") and time.monotonic() < stop_at:
        records += session.poll(100, 0.2)
    return records


def write(session: Session, records: list[KafkaRecord]) -> None:
    """Their outcomes."""
    output = session.config.topics[0].replace("in-", "out-")
    session.write(
        [
            OutputRecord(
                output,
                None,
                record.value,
                [("inference.source", f"{record.topic}/{record.partition}/{record.offset}".encode())],
                None,
                (record.topic, record.partition, record.offset),
                None,
            )
            for record in records
        ]
    )


def report(config: KafkaConfig) -> topics.Report:
    source = config.topics[0]
    outputs = topics.read_all(config.bootstrap_servers, source.replace("in-", "out-"))
    return topics.check_exactly_once({(source, number): range(10) for number in range(4)}, outputs)


def test_fewer_shards_fence_those_that_are_no_more(config: KafkaConfig, shard: OpenShard) -> None:
    """Shard 3 of 4 is still at its first bundle when the job goes on in 2 shards, none of which has its name."""
    old = shard(3, 4)
    write(old, read(old))
    new = [shard(0, 2), shard(1, 2)]
    for session in new:
        records = read(session)
        assert len(records) == 20
        write(session, records)
    with pytest.raises(FencedError):
        old.commit()
    assert all(session.commit() is CommitResult.FINAL for session in new)
    assert report(config).ok, report(config)


def test_more_shards_fence_the_fewer(config: KafkaConfig, shard: OpenShard) -> None:
    """Shard 1 of 2 had partitions 1 and 3; 3 is shard 3's now, which has no name in common with it."""
    old = shard(1, 2)
    write(old, read(old))
    new = shard(3, 4)
    write(new, read(new))
    with pytest.raises(FencedError):
        old.commit()
    assert new.commit() is CommitResult.FINAL
    for index in range(3):
        session = shard(index, 4)
        write(session, read(session))
        session.commit()
    assert report(config).ok, report(config)


def test_a_shard_goes_on_where_its_former_self_has_stopped(config: KafkaConfig, shard: OpenShard) -> None:
    """It finds its own name, and fences nobody but its former self."""
    for _ in range(2):
        session = shard(0, 1)
        session.begin()
        records: list[KafkaRecord] = []
        while len(records) < 20:
            records += session.poll(20 - len(records), 0.2)
        write(session, records)
        assert session.commit() is CommitResult.FINAL
    assert report(config).ok, report(config)
