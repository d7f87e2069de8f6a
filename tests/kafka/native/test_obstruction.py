"""A topic or a right that is missing while a session runs: it waits, says for what, and goes on with the same records."""

from __future__ import annotations

from collections.abc import Iterator

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, Job, Recorder
from tests.kafka.native.memory_kafka import refused
from transforms.errors import FencedError
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE
from transforms.kafka.native.obstruction import AGAIN_S, TRIAL_S
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS
from transforms.kafka.native.states import CommitResult
from transforms.observe import Observer, set_observer

E = ck.KafkaError
DELIVERIES = pytest.mark.parametrize("delivery", [EXACTLY_ONCE, AT_LEAST_ONCE])


class Shown(Recorder):
    reason: str | None = None

    def holding(self, reason: str | None) -> None:
        self.reason = reason


@pytest.fixture
def shown() -> Iterator[Shown]:
    observer = Shown()
    set_observer(observer)
    yield observer
    set_observer(Observer())


def look_again(job: Job, times: int = 1) -> None:
    """Lets the session look for the cure, in bundles that read nothing."""
    for _ in range(times):
        job.now += AGAIN_S
        job.session.begin()
        assert job.read() == []
        job.session.commit()


@DELIVERIES
@pytest.mark.parametrize("overlap_from", [0, 1_000])
def test_an_output_topic_that_is_gone_is_waited_for(shown: Shown, delivery: str, overlap_from: int) -> None:
    job = Job([True] * 3, delivery=delivery, overlap_from=overlap_from)
    job.kafka.gone.add("out")
    job.bundle()
    look_again(job, MAX_ROLLBACKS + 1)  # however long it takes
    assert shown.reason == (
        "Kafka: the output topic out does not exist any more; make it again: "
        "kafka-topics.sh --bootstrap-server memory:9092 --create --topic out --partitions 3"
    )
    assert job.consumer.paused
    assert (job.kafka.outputs, job.kafka.committed) == ([], {A: 0})
    job.kafka.gone.clear()
    job.now += AGAIN_S
    assert job.bundle() == [(0, 0), (0, 1), (0, 2)]
    job.session.finish_commit()
    assert job.kafka.outputs == job.kafka.records()
    assert shown.reason is None


@DELIVERIES
def test_a_right_that_is_missing_is_waited_for(shown: Shown, delivery: str) -> None:
    """Where Kafka does not say which right, its refusal is told, and the next attempt shows whether it is there."""
    job = Job([True] * 3, delivery=delivery)
    for _ in range(MAX_ROLLBACKS + 1):
        job.kafka.delivery_failures.append(E.TOPIC_AUTHORIZATION_FAILED)
        job.bundle()
        assert shown.reason is not None
        assert "writing to out: not authorized for the topic: grant" in shown.reason
        job.now += AGAIN_S
    assert len(job.bundle()) == 3
    assert shown.reason is None
    assert sorted(set(job.kafka.outputs)) == job.kafka.records()
    assert len(job.kafka.outputs) == 3 or delivery == AT_LEAST_ONCE


def test_a_transaction_that_failed_in_the_background_is_explained(shown: Shown) -> None:
    """librdkafka says only that it must be aborted."""
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.gone.add("out")
    job.kafka.commit_failures.append(refused(E._STATE, abort=True))
    job.producer.flush(0)
    job.producer._queue.clear()
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert shown.reason is not None
    assert "topic out does not exist any more" in shown.reason


def test_a_transactional_id_that_may_not_be_used_any_more_is_waited_for(shown: Shown) -> None:
    job = Job([True] * 3)
    no_right = refused(E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True)
    job.kafka.commit_failures.append(no_right)
    job.kafka.init_failures += [no_right] * 3
    job.bundle()
    look_again(job, 2)
    assert shown.reason is not None
    assert "--operation Write --transactional-id group-0 grants it" in shown.reason
    job.now += AGAIN_S
    assert len(job.bundle()) == 3
    assert job.kafka.outputs == job.kafka.records()


def test_a_producer_that_lost_its_right_between_two_transactions_is_waited_for(shown: Shown) -> None:
    """librdkafka tells it where the next one begins."""
    job = Job([True] * 3)
    no_right = refused(E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True)
    job.kafka.begin_failures.append(no_right)
    job.kafka.init_failures.append(no_right)
    job.bundle()
    assert shown.reason is not None
    assert "--operation Write --transactional-id group-0 grants it" in shown.reason
    job.now += AGAIN_S
    assert len(job.bundle()) == 3
    assert job.kafka.outputs == job.kafka.records()
    assert shown.reason is None


def test_a_producer_that_was_fenced_by_nobody_between_two_transactions_is_replaced() -> None:
    job = Job([True] * 3)
    job.kafka.begin_failures.append(refused(E._FENCED, fatal=True))
    job.bundle()
    assert not job.kafka.outputs
    assert len(job.bundle()) == 3
    assert job.kafka.outputs == job.kafka.records()


def test_who_takes_over_meanwhile_ends_it(shown: Shown) -> None:
    job = Job([True] * 3)
    job.kafka.members.append(("group-0", "another"))
    job.kafka.commit_failures.append(refused(E.TOPIC_AUTHORIZATION_FAILED, abort=True))
    job.kafka.init_failures.append(refused(E._FENCED, fatal=True))
    with pytest.raises(FencedError):
        job.bundle()


def test_what_a_job_leaves_that_ends_while_it_waits_is_told(shown: Shown) -> None:
    job = Job([True] * 3)
    job.kafka.gone.add("out")
    job.bundle()
    look_again(job)
    job.session.close()
    assert shown.unanswered == [3]
    assert shown.reason is None
    assert job.consumer.closed


def test_a_cure_with_nothing_left_to_write_ends_the_wait(shown: Shown) -> None:
    """Another member has the partitions now."""
    job = Job([True] * 3)
    job.kafka.gone.add("out")
    job.bundle()
    job.steps = [lambda: job.consumer.revoke({A})]
    look_again(job)
    job.kafka.gone.clear()
    look_again(job)
    assert shown.reason is not None
    job.now += TRIAL_S
    look_again(job)
    assert shown.reason is None
