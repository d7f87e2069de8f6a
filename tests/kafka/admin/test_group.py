"""A job with other topics, or of another protocol, in the same group: refused, unless it has ended meanwhile."""

from __future__ import annotations

import dataclasses
import logging
import types
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
import pytest

from pipeline.checking.waiting import StartWait
from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin.group import Members
from transforms.kafka.config import KafkaConfig

CONFIG = KafkaConfig("h:1", ("orders", "returns"), "scoring")
NEWER = dataclasses.replace(CONFIG, properties=(("group.protocol", "consumer"),))


class Group:
    """An admin client of a group whose members leave at given times.

    Attributes:
        now: The time in seconds.
    """

    def __init__(
        self,
        *members: tuple[str, tuple[str, ...], float],
        error: Exception | None = None,
        cluster: str = "real",
        kind: ck.ConsumerGroupType = ck.ConsumerGroupType.CLASSIC,
    ):
        self.members, self.error, self.cluster, self.kind, self.now = members, error, cluster, kind, 0.0
        self.asked = 0

    def list_topics(self, timeout: float) -> Any:
        return types.SimpleNamespace(cluster_id=self.cluster)

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        self.asked += 1
        answer: Future[Any] = Future()
        if self.error is not None:
            answer.set_exception(self.error)
        else:
            members = [_member(*it) for it in self.members if it[2] > self.now]
            answer.set_result(types.SimpleNamespace(members=members, type=self.kind))
        return {groups[0]: answer}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def check(self) -> None:
        Members(self, CONFIG, lambda: self.now, self.sleep).check_topics()

    def check_protocol(self, config: KafkaConfig) -> None:
        Members(self, config, lambda: self.now, self.sleep).check_protocol()


def _member(name: str, topics: tuple[str, ...], _: float) -> Any:
    partitions = [types.SimpleNamespace(topic=topic, partition=0) for topic in topics]
    return types.SimpleNamespace(
        client_id=name, host="/10.0.0.7", assignment=types.SimpleNamespace(topic_partitions=partitions)
    )


EVER = float("inf")


def test_nobody_a_replica_and_one_without_partitions_are_no_strangers() -> None:
    """A replica may have partitions of some of the topics only."""
    for group in (Group(), Group(("a", ("orders",), EVER), ("b", ("returns", "orders"), EVER), ("c", (), EVER))):
        group.check()
        assert group.now == 0


def test_a_job_with_other_topics_is_named_with_the_cure() -> None:
    group = Group(("ours", ("orders",), EVER), ("fraud-0", ("payments", "orders", "cards"), EVER))
    with pytest.raises(ContractError) as raised:
        group.check()
    said = str(raised.value)
    assert said.startswith("--group_id=scoring: is used by a job with other topics: ")
    assert "member fraud-0 at 10.0.0.7 reads cards, payments." in said
    assert "--allow_shared_group" in said
    assert "ours" not in said
    assert group.now < 13, "a session time-out, and a little"


def test_one_that_was_killed_leaves_with_its_session() -> None:
    group = Group(("old", ("payments",), 9.0))
    group.check()
    assert 9 <= group.now < 10


def test_what_kafka_does_not_tell_is_no_mistake() -> None:
    """No right to describe the group, or a broker that is none."""
    group = Group(
        ("x", ("payments",), EVER), error=ck.KafkaException(ck.KafkaError(ck.KafkaError.GROUP_AUTHORIZATION_FAILED))
    )
    group.check()
    assert group.asked == 1
    mock = Group(("x", ("payments",), EVER), cluster="mockCluster7f")
    mock.check()
    assert mock.asked == 0


def test_the_newer_protocol_does_not_meet_members_of_the_classic_one(caplog: pytest.LogCaptureFixture) -> None:
    """Kafka ends the newer one's first member by the fatal error GROUP_ID_NOT_FOUND, once ours have had a rebalance."""
    group = Group(("scoring-0", ("orders",), EVER))
    with caplog.at_level(logging.WARNING), pytest.raises(NotReadyError) as raised:
        group.check_protocol(NEWER)
    said = str(raised.value)
    assert said.startswith("--kafka_config group.protocol: consumer does not meet members of the classic protocol")
    assert "member scoring-0 at 10.0.0.7. Stop them all first" in said
    assert 10 <= group.now < 13, "their session time-out, and a little"
    assert "classic protocol (member scoring-0 at 10.0.0.7); waiting up to 12 s" in caplog.text
    group.check_protocol(CONFIG)


def test_the_start_waits_on_for_one_whose_session_lasts_longer() -> None:
    """With a session.timeout.ms of its own; how long that is Kafka does not tell."""
    group, lines = Group(("scoring-0", ("orders",), 60.0)), list[str]()
    start = StartWait(120, lambda: group.now, group.sleep, lines.append)
    start.until_there("Kafka", lambda _: group.check_protocol(NEWER))
    assert 60 <= group.now < 70
    assert lines[0].startswith(
        "waiting for Kafka, for up to 108 s more (--wait_for_start_s): --kafka_config group.protocol: "
    )
    assert "member scoring-0 at 10.0.0.7" in lines[0]


def test_it_waits_for_classic_ones_that_were_killed() -> None:
    group = Group(("scoring-0", ("orders",), 9.0))
    group.check_protocol(NEWER)
    assert 9 <= group.now < 10


def test_it_meets_its_like_and_an_empty_group() -> None:
    for group in (Group(), Group(("scoring-0", ("orders",), EVER), kind=ck.ConsumerGroupType.CONSUMER)):
        group.check_protocol(NEWER)
        assert group.now == 0
