"""What keeps a running job from its topics, as it is told."""

from __future__ import annotations

import re

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, refused
from transforms.kafka.config import KafkaConfig
from transforms.kafka.obstacles import Obstacles

CONFIG = KafkaConfig("h:1", ("in",), "g", dead_letter_topic="dead")


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("in", "the input topic in does not exist any more; make it again: kafka-topics.sh .* --topic in --partitions 1$"),
        (
            "out",
            "the output topic out does not exist any more; make it again: kafka-topics.sh .* --topic out --partitions 3$",
        ),
        ("dead", "the dead-letter topic dead does not exist any more; make it again: .* --topic dead --partitions 3$"),
    ],
)
def test_a_topic_that_is_gone_is_told_with_the_command_that_makes_it(gone: str, said: str) -> None:
    kafka = MemoryKafka({}, gone={gone})
    [found] = Obstacles(CONFIG, MemoryAdmin(kafka).opened).find(["out", "dead"])
    assert re.fullmatch(said, found), found


def test_nothing_is_found_where_all_is_there() -> None:
    assert Obstacles(CONFIG, MemoryAdmin(MemoryKafka({})).opened).find(["out"]) == []


def test_nothing_is_found_while_kafka_is_away() -> None:
    class Away(MemoryAdmin):
        def describe_topics(self, *_: object, **__: object) -> dict[str, object]:  # type: ignore[override]
            raise refused(ck.KafkaError._TIMED_OUT)

    assert Obstacles(CONFIG, Away(MemoryKafka({}, gone={"out"})).opened).find(["out"]) == []
