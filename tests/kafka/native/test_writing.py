"""Outputs on their way into Kafka, and at-least-once delivery."""

from __future__ import annotations

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, Job
from tests.kafka.native.test_exactly_once import outcome
from transforms.errors import KafkaError
from transforms.kafka.config import AT_LEAST_ONCE
from transforms.kafka.native.states import CommitResult

# ---------------------------------------------------------------------- writing


def test_null_keys_keep_the_order_of_their_partition() -> None:
    """They go to the partition of the source's number, modulo the count; keyed ones where the key says."""
    job = Job([True])
    job.session.begin()
    job.read()
    [keyed] = [outcome(record) for record in job.records]
    job.session.write([keyed._replace(key=None, source=("in", 4, 0)), keyed._replace(source=("in", 4, 0))])
    assert [(key, partition) for _, key, _, partition, *_ in job.producer.produced] == [(None, 1), (b"k", -1)]


def test_a_full_queue_is_waited_for() -> None:
    job = Job([True] * 3)
    job.producer.full = 4
    job.bundle()
    assert len(job.kafka.outputs) == 3


def test_an_output_that_librdkafka_refuses_at_once_ends_the_job_with_topic_and_cure() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.producer.refuses = ck.KafkaException(ck.KafkaError(ck.KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(KafkaError, match=r"writing to .*: .*larger than the topic allows: raise max\.message\.bytes"):
        job.write()


# ---------------------------------------------------------------------- at least once


def test_at_least_once_commits_offsets_after_the_outputs() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.bundle()
    assert job.kafka.outputs == job.kafka.records()
    assert job.consumer.commits == [{A: 0}, {A: 3}]
    assert "transactional.id" not in job.producer.properties


def test_at_least_once_an_output_that_was_not_acknowledged_is_read_again() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.delivery_failures.append(ck.KafkaError._MSG_TIMED_OUT)
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.kafka.committed == {A: 0}
    assert len(job.bundle()) == 3
    assert job.kafka.committed == {A: 3}


def test_without_a_dead_letter_topic_an_output_that_can_never_be_written_ends_the_job() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.delivery_failures.append(ck.KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(KafkaError, match=r"larger than the topic allows: raise max\.message\.bytes"):
        job.session.commit()


def test_at_least_once_closing_commits_what_is_ours_for_good() -> None:
    """And nothing of a partition that went and came back, which others may have brought further."""
    job = Job([True] * 4, [True] * 4, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.session.commit()
    for step in (lambda: job.consumer.revoke({A}), lambda: job.consumer.assign({A})):
        job.steps = [step]
        job.session.begin()
        job.session.poll_nothing(0.0)
        if A in job.kafka.others:
            job.kafka.others_work(A, 4)
    job.session.close()
    assert job.kafka.committed[A] == 4
    assert job.consumer.closed


def test_closing_in_mid_bundle_aborts_it() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write()
    job.session.close()
    assert (job.producer.open, job.producer.aborted, job.kafka.outputs) == (False, 1, [])
    assert job.consumer.closed
