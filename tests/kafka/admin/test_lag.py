"""The lag of a group, as Kafka has it, and answers that don't come."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import confluent_kafka as ck
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests.kafka.native.memory_kafka import refused
from transforms.kafka.admin.lag import PARTITIONS_S, GroupLag
from transforms.kafka.config import KafkaConfig


class Kafka:
    """Consumer and admin client in one."""

    def __init__(self) -> None:
        self.partitions = [0, 1]
        self.committed_offsets = {0: 40}
        self.ends = {0: 100, 1: 100, 2: 100}
        self.down = ""

    def _fails(self, call: str) -> None:
        if self.down == call:
            raise refused(ck.KafkaError._TIMED_OUT)

    def list_topics(self, topic: str = "", timeout: float = 0.0) -> Any:
        self._fails("list_topics")
        found = type("Topic", (), {"partitions": dict.fromkeys(self.partitions)})
        return type("Metadata", (), {"topics": {topic: found}, "cluster_id": "a real one"})

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        self._fails("committed")
        return [
            ck.TopicPartition(tp.topic, tp.partition, self.committed_offsets.get(tp.partition, -1001)) for tp in partitions
        ]

    def list_offsets(self, asked: Any, isolation_level: Any, request_timeout: float) -> dict[Any, Any]:
        assert isolation_level == ck.IsolationLevel.READ_COMMITTED
        futures: dict[Any, Any] = {}
        for tp in asked:
            futures[tp] = concurrent.futures.Future()
            if self.down == "list_offsets":
                futures[tp].set_exception(refused(ck.KafkaError._TIMED_OUT))
            else:
                futures[tp].set_result(type("Result", (), {"offset": self.ends[tp.partition]}))
        return futures

    def close(self) -> None: ...


def lag_of(kafka: Kafka, clock: Any = lambda: 0.0) -> GroupLag:
    return GroupLag(KafkaConfig("h:1", ("in",), "g"), lambda properties: kafka, lambda config: kafka, clock)


def test_a_partition_without_a_commit_is_left_out() -> None:
    assert lag_of(Kafka()).look() == {("in", 0): 60}


def test_a_commit_after_the_last_stable_offset_leaves_nothing_to_go() -> None:
    kafka = Kafka()
    kafka.committed_offsets = {0: 101, 1: 100}
    assert lag_of(kafka).look() == {("in", 0): 0, ("in", 1): 0}


@pytest.mark.parametrize("call", ["list_topics", "committed", "list_offsets"])
def test_while_kafka_does_not_answer_nothing_is_known(call: str) -> None:
    kafka = Kafka()
    lag = lag_of(kafka)
    kafka.down = call
    assert lag.look() is None
    kafka.down = ""
    assert lag.look() == {("in", 0): 60}


def test_new_partitions_are_found() -> None:
    kafka, now = Kafka(), [0.0]
    lag = lag_of(kafka, lambda: now[0])
    lag.look()
    kafka.partitions, kafka.committed_offsets = [0, 1, 2], {0: 40, 2: 99}
    assert lag.look() == {("in", 0): 60}
    now[0] = PARTITIONS_S
    assert lag.look() == {("in", 0): 60, ("in", 2): 1}


def test_the_embedded_broker_keeps_no_offsets_of_transactions() -> None:
    with EmbeddedBroker({"in": 2}) as broker:
        lag = GroupLag(KafkaConfig(broker.address, ("in",), "g"))
        assert lag.look() is None
        lag.close()
