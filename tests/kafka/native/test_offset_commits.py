"""Asynchronous commits of offsets: one under way at a time."""

from __future__ import annotations

import logging

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, B, Job
from transforms.kafka.config import AT_LEAST_ONCE
from transforms.kafka.native.offset_commits import SAY_S, OffsetCommits
from transforms.kafka.native.states import CommitResult


class Consumer:
    def __init__(self) -> None:
        self.sent: list[dict[tuple[str, int], int]] = []
        self.refuses: ck.KafkaError | None = None

    def commit(self, offsets: list[ck.TopicPartition], asynchronous: bool) -> None:
        assert asynchronous
        if self.refuses is not None:
            raise ck.KafkaException(self.refuses)
        self.sent.append({(tp.topic, tp.partition): tp.offset for tp in offsets})


def offset(partition: tuple[str, int], value: int) -> list[ck.TopicPartition]:
    return [ck.TopicPartition(*partition, value)]


def test_commits_that_come_meanwhile_go_together() -> None:
    consumer, commits = Consumer(), OffsetCommits()
    commits.commit(consumer, offset(A, 1))
    for value in (2, 3):
        commits.commit(consumer, offset(A, value))
    commits.commit(consumer, offset(B, 7))
    assert consumer.sent == [{A: 1}]
    commits.answered(None, offset(A, 1))
    assert consumer.sent == [{A: 1}, {A: 3, B: 7}]
    commits.answered(None, offset(A, 3))
    assert len(consumer.sent) == 2, "nothing more to send"


def test_what_is_no_longer_ours_is_not_committed() -> None:
    consumer, commits = Consumer(), OffsetCommits()
    commits.commit(consumer, offset(A, 1))
    commits.commit(consumer, offset(A, 2) + offset(B, 5))
    commits.forget([A])
    commits.answered(None, [])
    assert consumer.sent == [{A: 1}, {B: 5}]


def test_a_commit_that_fails_is_said_now_and_then_and_others_follow(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    consumer, commits = Consumer(), OffsetCommits(lambda: now)
    refused = ck.KafkaError(ck.KafkaError.GROUP_AUTHORIZATION_FAILED)
    with caplog.at_level(logging.WARNING):
        for value in range(3):
            commits.commit(consumer, offset(A, value))
            commits.answered(refused, [])
        assert len(caplog.records) == 1
        assert "offsets were not committed" in caplog.text
        now += SAY_S
        consumer.refuses = ck.KafkaError(ck.KafkaError._STATE)
        commits.commit(consumer, offset(A, 4))
        assert len(caplog.records) == 2
        consumer.refuses = None
        commits.commit(consumer, offset(A, 5))
    assert consumer.sent == [{A: 0}, {A: 1}, {A: 2}, {A: 5}]


def test_a_job_commits_in_the_pace_of_the_answers() -> None:
    """Bundles are many, and Kafka is slow: still, no more than one request waits before the heartbeats."""
    job = Job([True] * 6, delivery=AT_LEAST_ONCE)
    answer = job.consumer.properties["on_commit"]
    job.consumer.properties["on_commit"] = lambda *_: None
    for _ in range(3):
        job.session.begin()
        job.read(most=2)
        job.write()
        assert job.session.commit() is CommitResult.FINAL
    assert job.consumer.commits == [{A: 0}, {A: 2}]
    answer(None, [])
    assert job.consumer.commits == [{A: 0}, {A: 2}, {A: 6}]
