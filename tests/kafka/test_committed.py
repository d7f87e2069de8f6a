"""What a committed offset is worth: nothing, if it is of a former topic of the name in the same cluster."""

from __future__ import annotations

import logging

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka
from transforms.kafka.commit_metadata import commit_metadata
from transforms.kafka.committed import SURE_S, CommittedOffsets, is_of_another
from transforms.kafka.config import KafkaConfig, Partition

A, B = ("in", 0), ("in", 1)


@pytest.mark.parametrize(
    ("committed", "now", "another"),
    [
        ("a@one", "b@one", True),
        ("a@one", "a@one", False),
        ("a@one", "b@two", False),  # the group was moved to another cluster with its offsets, which has ids of its own
        ("", "b@one", False),  # an older version's commit, or another program's
        ("a@one", "", False),  # a broker that gives no ids
        ("", "", False),
    ],
)
def test_only_two_ids_of_one_cluster_are_two_topics(committed: str, now: str, another: bool) -> None:
    assert is_of_another(committed, now) is another


def asked(kafka: MemoryKafka, slept: list[float] | None = None) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Returns what the group has committed, and what of it does not count."""
    config = KafkaConfig("memory:9092", ("in",), "group")
    sleep = (slept if slept is not None else []).append
    offsets = CommittedOffsets(config, MemoryConsumer(kafka), MemoryAdmin(kafka).opened, sleep)
    found = offsets.ask([A, B], 1.0)
    return {(tp.topic, tp.partition): tp.offset for tp in found.offsets}, dict(found.former)


def of(topic_id: str, cluster: str = "memory") -> str:
    return commit_metadata("a shard", ("earliest",), f"{topic_id}@{cluster}")


def test_an_offset_of_a_former_topic_is_none() -> None:
    kafka = MemoryKafka({A: [True] * 9, B: [True] * 9})
    kafka.commit({A: (5, of("in-0")), B: (6, of("in-0"))})
    assert asked(kafka) == ({A: 5, B: 6}, {})
    kafka.make_again([True] * 9, [True] * 9)
    kafka.commit({B: (1, of("in-1"))})
    assert asked(kafka) == ({A: ck.OFFSET_INVALID, B: 1}, {A: 5})


def test_what_names_no_topic_counts_and_asks_nothing() -> None:
    """Nothing but an offset that names a topic makes the admin client: the embedded broker would not answer it."""
    kafka = MemoryKafka({A: [True] * 9, B: [True] * 9})
    kafka.commit({A: (5, commit_metadata("a shard")), B: (6, "")})
    kafka.gone.add("in")  # the question would fail
    assert asked(kafka) == ({A: 5, B: 6}, {})


def test_another_clusters_offset_counts() -> None:
    kafka = MemoryKafka({A: [True] * 9, B: []})
    kafka.commit({A: (5, of("else-7", "another"))})
    assert asked(kafka)[0] == {A: 5, B: -1001}


def test_a_broker_that_is_late_is_asked_again() -> None:
    """It still has the former topic where another process has committed for the new one: that is not to be forgotten."""
    kafka, slept = MemoryKafka({A: [True] * 9, B: []}), list[float]()
    kafka.make_again([True] * 9, [])
    kafka.commit({A: (5, of("in-1"))})
    kafka.late = 1
    assert asked(kafka, slept) == ({A: 5, B: -1001}, {})
    assert slept == [SURE_S]


def test_its_metadata_stays() -> None:
    """The values of ``--start_from`` that the group has had are in it."""
    kafka = MemoryKafka({A: [], B: []})
    kafka.commit({A: (5, of("in-0"))})
    kafka.make_again([], [])
    found = CommittedOffsets(
        KafkaConfig("memory:9092", ("in",), "group"), MemoryConsumer(kafka), MemoryAdmin(kafka).opened, lambda _: None
    )
    assert found.ask([A], 1.0).offsets[0].metadata == of("in-0")


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The status asks every few seconds."""
    kafka = MemoryKafka({A: [], B: []})
    kafka.commit({A: (5, of("in-0"))})
    kafka.make_again([], [])
    with caplog.at_level(logging.INFO):
        asked(kafka)
    assert caplog.records == []
