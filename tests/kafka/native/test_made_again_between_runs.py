"""An input topic that is deleted and made again between two runs."""

from __future__ import annotations

from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, Job
from tests.kafka.native.memory_kafka import MemoryAdmin, refused
from tests.kafka.native.test_input_lost import drain, named
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE

E = ck.KafkaError
DELIVERIES = pytest.mark.parametrize("delivery", [EXACTLY_ONCE, AT_LEAST_ONCE])


@DELIVERIES
@pytest.mark.parametrize("records", [2, 5, 8])  # fewer than had been read, as many, more
@pytest.mark.parametrize("forget", [True, False])
def test_made_again_between_two_runs(delivery: str, records: int, forget: bool, caplog: pytest.LogCaptureFixture) -> None:
    first = Job([True] * 5, delivery=delivery)
    first.bundle()
    first.session.close()
    first.kafka.make_again([True] * records, forget=forget)
    job = Job(kafka=first.kafka, delivery=delivery)
    drain(job, 2)
    assert [it for it in job.kafka.outputs if it[0] == "in#1"] == job.kafka.records()
    assert (job.kafka.committed, named(job)) == ({A: records}, {A: "in-1@memory"})
    assert ("in was deleted and made again, and is read from its start" in caplog.text) is not forget
    assert ("group group had read up to 5 records" in caplog.text) is not forget


def test_who_comes_first_begins_and_the_other_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Two processes find a former topic's offset: the later one finds the first one's commit, and resets nothing."""
    former = Job([True] * 5, [True] * 5)
    former.bundle()
    former.session.close()
    kafka = former.kafka
    kafka.make_again([True] * 8, [True] * 8)
    one = Job(kafka=kafka)
    assert one.bundle() == [(p, offset) for p in (0, 1) for offset in range(8)]
    one.session.close()
    caplog.clear()
    kafka.log[A].append(True)
    other = Job(kafka=kafka)
    assert other.bundle() == [(0, 8)]
    assert "made again" not in caplog.text


@DELIVERIES
def test_a_commit_without_a_topic_is_gone_on_from(delivery: str) -> None:
    """By an older version, or another program."""
    job = Job([True] * 5, delivery=delivery)
    job.kafka.commit({A: (2, "")})
    assert job.bundle() == [(0, 2), (0, 3), (0, 4)]
    assert named(job) == {A: "in-0@memory"}


def test_a_broker_that_never_says_ids_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(MemoryAdmin):
        def list_topics(self, topic: str | None = None, timeout: float = 0.0) -> Any:
            job.now += 3
            raise refused(E._TIMED_OUT)

    job = Job([True] * 5, admin=Silent)
    job.kafka.commit({A: (2, "of in-0@memory")})
    assert job.bundle() == [(0, 2), (0, 3), (0, 4)]
    assert "one that is made again is not noticed" in caplog.text
    assert named(job) == {A: "in-0@memory"}, "what the offset was of, for the next start"
