"""A look at a topic: where it starts, how it is shared among partitions, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from transforms.kafka.admin.checks import Checker, Position
from transforms.kafka.admin.sample import read_sample, shares
from transforms.kafka.config import KafkaConfig
from transforms.types import KafkaRecord


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def look(broker: EmbeddedBroker, topic: str, records: int, start_from: str = "committed") -> list[KafkaRecord]:
    config = KafkaConfig(broker.address, (topic,), f"group-{topic}")
    checker = Checker(config)
    try:
        count = topics.partition_count(broker.address, topic)
        positions = checker.positions([(topic, number) for number in range(count)], start_from)
    finally:
        checker.close()
    return read_sample(config, positions, records)


def where(records: list[KafkaRecord]) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in records]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), max_size=6), st.integers(1, 60))
def test_shares_are_what_there_is_or_what_was_asked_for(sizes: list[tuple[int, int, int]], records: int) -> None:
    positions = {}
    for number, (low, size, read) in enumerate(sizes):
        positions["t", number] = Position(low + min(read, size), low, low + size)
    found = shares(positions, records)
    assert sum(take for _, take in found.values()) == min(records, sum(size for _, size, _ in sizes))
    for partition, (start, take) in found.items():
        at = positions[partition]
        assert at.low <= start <= start + take <= at.high
        assert start <= at.start, "never later than a run would start"


def test_it_starts_where_a_run_would_and_takes_of_every_partition(broker: EmbeddedBroker) -> None:
    broker.create_topic("even", 2)
    topics.produce(broker.address, "even", [b"%d" % i for i in range(10)], partitions=[i % 2 for i in range(10)])
    assert where(look(broker, "even", 4)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert where(look(broker, "even", 4, "latest")) == [(0, 3), (0, 4), (1, 3), (1, 4)], "the newest: there is nothing else"
    assert len(look(broker, "even", 100)) == 10
    assert topics.committed_offsets(broker.address, "group-even", "even") == {}, "nothing was committed"


def test_a_record_comes_as_it_is(broker: EmbeddedBroker) -> None:
    broker.create_topic("one", 1)
    topics.produce(broker.address, "one", [None, b""])
    tombstone, empty = look(broker, "one", 5)
    assert (tombstone.value, empty.value, tombstone.topic, tombstone.headers) == (None, b"", "one", [])


def test_an_empty_topic_is_not_waited_for(broker: EmbeddedBroker) -> None:
    broker.create_topic("empty", 3)
    assert look(broker, "empty", 5) == []


def test_it_gives_what_has_come_in_time(broker: EmbeddedBroker) -> None:
    """The watermarks promise more than ever comes: the clock ends it."""
    broker.create_topic("late", 1)
    topics.produce(broker.address, "late", [b"1"])
    ticks = iter(range(100))
    config = KafkaConfig(broker.address, ("late",), "group-late")
    assert read_sample(config, {("late", 0): Position(0, 0, 1)}, 1, 0.0, lambda: float(next(ticks))) == []
