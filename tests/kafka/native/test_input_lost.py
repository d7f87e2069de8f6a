"""An input topic that is deleted, made again, or may not be read any more, while a session runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, B, Job, Recorder
from tests.kafka.native.memory_kafka import refused
from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import identity_in
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE
from transforms.kafka.native.input_watch import LOOK_S
from transforms.kafka.native.obstruction import AGAIN_S
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS
from transforms.kafka.stop import StopConditions
from transforms.observe import Observer, RollbackCause, set_observer

E = ck.KafkaError
DELIVERIES = pytest.mark.parametrize("delivery", [EXACTLY_ONCE, AT_LEAST_ONCE])
GONE = (
    "Kafka: the input topic in does not exist any more; make it again: "
    "kafka-topics.sh --bootstrap-server memory:9092 --create --topic in --partitions 1"
)


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


def idle(job: Job, bundles: int = 6) -> None:
    """Bundles that find nothing, a second each: so the topics are looked at, and what is in the way."""
    for _ in range(bundles):
        job.now += max(LOOK_S, AGAIN_S)
        job.session.begin()
        assert job.read() == []
        job.session.commit()


def drain(job: Job, bundles: int = 12) -> None:
    """Bundles a second each; a new consumer is given all partitions."""
    for _ in range(bundles):
        job.now += max(LOOK_S, AGAIN_S)
        if not job.consumer.positions:
            job.steps = [lambda: job.consumer.assign(set(job.kafka.log))]
        job.bundle()
    job.session.finish_commit()


def named(job: Job) -> dict[tuple[str, int], str]:
    return {partition: identity_in(text) for partition, text in job.kafka.metadata.items()}


@DELIVERIES
def test_commits_name_the_topic_that_was_read(delivery: str) -> None:
    job = Job([True] * 3, delivery=delivery)
    job.session.begin()
    job.read()
    assert named(job) == {A: "in-0@memory"}, "the first one, before anything is answered"
    job.write()
    job.session.commit()
    assert named(job) == {A: "in-0@memory"}


def test_a_broker_without_ids_is_as_before() -> None:
    job = Job([True] * 3)
    job.kafka.cluster = ""
    job.bundle()
    idle(job)
    assert (job.kafka.committed, named(job)) == ({A: 3}, {A: ""})


@DELIVERIES
@pytest.mark.parametrize("overlap_from", [0, 1_000])
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("records", [2, 5, 8])
def test_deleted_and_made_again_while_running(
    shown: Shown, delivery: str, overlap_from: int, forget: bool, records: int
) -> None:
    job = Job([True] * 5, delivery=delivery, overlap_from=overlap_from)
    job.bundle()
    idle(job, 2)
    assert not shown.causes
    job.kafka.gone.add("in")
    idle(job, MAX_ROLLBACKS + 1)  # however long it takes
    assert shown.reason == GONE
    assert job.consumer.paused
    job.kafka.make_again([True] * records, forget=forget)
    drain(job)
    assert not shown.reason
    assert job.consumer.opens == 2
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()
    assert (job.kafka.committed, named(job)) == ({A: records}, {A: "in-1@memory"})


@DELIVERIES
def test_a_bundle_under_way_is_rolled_back(shown: Shown, delivery: str) -> None:
    """What it has read is of the former topic: its offsets are not committed for the new one."""
    job = Job([True] * 5, delivery=delivery)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.gone.add("in")
    while job.session.keep_alive():  # the model server does not answer
        job.now += LOOK_S
    job.session.commit()
    assert shown.causes == [RollbackCause.OBSTRUCTED]
    job.kafka.make_again([True] * 2)
    drain(job)
    assert job.kafka.outputs == job.kafka.records()


def test_a_commit_that_meets_the_deletion_is_no_end(shown: Shown) -> None:
    job = Job([True] * 5)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.gone.add("in")
    job.session.commit()
    idle(job)
    assert shown.reason == GONE
    job.kafka.make_again([True] * 7)
    drain(job)
    assert job.kafka.outputs == job.kafka.records()


def test_a_commit_under_way_names_what_its_records_are_of() -> None:
    """It lands when the partition has come back, and is read from the new topic: the offset counts for nothing there."""
    late: list[Any] = []

    class Late:
        def submit(self, call: Any, *arguments: Any) -> Any:
            late.append((call, arguments))
            return Pending()

        def shutdown(self, **_: Any) -> None: ...

    class Pending:
        def done(self) -> bool:
            return False

    job = Job([True] * 5, overlap_from=1, background=Late())  # type: ignore[arg-type]
    job.bundle()
    [(_, (_, offsets, _))] = late
    assert [(tp.offset, identity_in(tp.metadata)) for tp in offsets] == [(5, "in-0@memory")]


@DELIVERIES
def test_made_again_before_anybody_looks_and_shorter(shown: Shown, delivery: str) -> None:
    """The former position is beyond its end, which is no matter of retention."""
    job = Job([True] * 5, delivery=delivery)
    job.bundle()
    job.kafka.make_again([True] * 3)
    drain(job)
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()


@DELIVERIES
@pytest.mark.parametrize("late", [1, 2, 3])
def test_made_again_and_shorter_where_a_broker_is_late(shown: Shown, delivery: str, late: int) -> None:
    """The partition's leader knows the new topic; who is asked for its id knows the former one for some answers more."""
    job = Job([True] * 5, delivery=delivery)
    job.bundle()
    job.kafka.make_again([True] * 3)
    job.kafka.late = late
    drain(job)
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()


@DELIVERIES
def test_made_again_before_anybody_looks_and_as_long(shown: Shown, delivery: str) -> None:
    """librdkafka reads on from the former position, and finds nothing wrong."""
    job = Job([True] * 5, delivery=delivery)
    job.bundle()
    job.kafka.make_again([True] * 5)
    drain(job)
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()


@DELIVERIES
@pytest.mark.parametrize("overlap_from", [0, 1_000])
def test_made_again_and_longer_before_it_is_read_on(shown: Shown, delivery: str, overlap_from: int) -> None:
    """librdkafka reads on in the new topic. The bundle is committed on an answer that is not older: it is rolled back."""
    job = Job([True] * 5, delivery=delivery, overlap_from=overlap_from)
    job.bundle()
    job.now += 2 * LOOK_S
    job.session.begin()
    job.session.poll_nothing(0.0)  # asks
    job.kafka.make_again([True] * 9)
    job.now += 2 * LOOK_S
    assert job.read() == [(0, n) for n in range(5, 9)], "on the answer that it is the former one"
    job.write()
    job.session.commit()
    job.session.finish_commit()
    assert shown.causes == [RollbackCause.OBSTRUCTED]
    drain(job)
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()


@DELIVERIES
def test_what_a_new_topic_has_at_once_is_not_lost(shown: Shown, delivery: str) -> None:
    """What was answered before anybody could notice is answered again."""
    job = Job([True] * 5, delivery=delivery)
    job.bundle()
    job.kafka.make_again([True] * 9)
    assert job.bundle() == [(0, n) for n in range(5, 9)], "in the same moment"
    drain(job)
    new = [it for it in job.kafka.outputs if it[0] == "in#1"]
    assert set(new) == set(job.kafka.records())
    assert sorted(new) == sorted([*job.kafka.records(), *(("in#1", 0, n) for n in range(5, 9))])
    assert named(job) == {A: "in-1@memory"}


def test_made_again_during_a_commit_of_which_nobody_knows_the_outcome(shown: Shown) -> None:
    """The rollback goes back to what is committed, and finds another topic: that is no end of the job."""
    job = Job([True] * 5)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.make_again([True] * 7)
    job.kafka.hung_commits = 1
    job.session.commit()
    assert shown.causes == [RollbackCause.OBSTRUCTED]
    drain(job)
    assert job.kafka.outputs == [("in", 0, n) for n in range(5)] + job.kafka.records()


def test_fewer_partitions_than_before(shown: Shown) -> None:
    job = Job([True] * 5, [True] * 5)
    job.bundle()
    job.kafka.gone.add("in")
    idle(job)
    job.kafka.make_again([True] * 3)
    drain(job)
    assert job.kafka.outputs[10:] == job.kafka.records()
    assert job.session.reader.owned == {A}
    assert B not in job.session.commits.offsets


def test_a_broker_that_is_late_stops_nothing(shown: Shown) -> None:
    """One answer that a topic is not there is not enough."""
    job = Job([True] * 5)
    job.bundle()
    job.kafka.gone.add("in")
    job.now += LOOK_S
    for _ in range(2):  # asks, and takes the answer
        job.session.begin()
        job.read()
        job.session.commit()
    job.kafka.gone.clear()
    idle(job)
    assert shown.causes == []
    assert job.consumer.opens == 1


@pytest.mark.parametrize("code", [E.TOPIC_AUTHORIZATION_FAILED, E.GROUP_AUTHORIZATION_FAILED, E.UNKNOWN_TOPIC_OR_PART])
def test_what_the_consumer_is_refused_is_waited_for(shown: Shown, code: int) -> None:
    """Also where Kafka does not say what is missing: then the next attempt shows whether it is there."""
    job = Job([True] * 5)
    job.bundle()
    job.kafka.log[A].extend([True] * 3)
    job.consumer.refusals = [code] * 3
    job.bundle()
    assert shown.reason is not None
    assert shown.reason.startswith("Kafka: in: ")
    drain(job)
    assert job.kafka.outputs == job.kafka.records()
    assert shown.reason is None


def test_a_first_commit_that_is_refused_is_waited_for(shown: Shown) -> None:
    """The right to Read the group, taken away between the checks and the first assignment."""
    job = Job([True] * 3)
    real = job.consumer.commit

    def commit(offsets: list[Any], asynchronous: bool) -> list[Any]:
        job.consumer.commit = real  # type: ignore[method-assign]
        raise refused(E.GROUP_AUTHORIZATION_FAILED)

    job.consumer.commit = commit  # type: ignore[method-assign]
    job.bundle()
    assert shown.reason is not None
    assert "first offsets of group 'group': not authorized for the consumer group" in shown.reason
    drain(job)
    assert job.kafka.outputs == job.kafka.records()


def test_a_job_that_ends_while_it_waits_says_what_it_leaves(shown: Shown) -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write()
    job.kafka.gone.add("in")
    job.session.commit()
    idle(job)
    job.session.close()
    assert shown.unanswered == [3]
    assert shown.reason is None
    assert job.consumer.closed


@pytest.mark.usefixtures("not_draining")
def test_a_job_that_waits_for_other_members_at_the_end_waits_for_the_topic_too(shown: Shown) -> None:
    """It owns nothing, as after the group has taken a deleted topic's partitions away, and asks for the group's offsets."""
    job = Job([True] * 3, assign=False)
    polling = Polling(job.session.config, StopConditions(None, ((A, 3),), (A,)), lambda: job.now)

    def ends() -> bool:
        job.now += max(LOOK_S, AGAIN_S)
        job.session.begin()
        return polling.finished(job.session)

    assert not ends()
    job.kafka.gone.add("in")
    for _ in range(3):
        assert not ends()
        assert job.read() == []
        job.session.commit()
    assert shown.reason == GONE
    job.kafka.make_again([True] * 3)
    drain(job)
    assert job.kafka.outputs == job.kafka.records()
    assert ends()


def test_what_was_deleted_of_the_new_topic_is_missed() -> None:
    """Its offsets count as any topic's, once the first one is committed."""
    job = Job([True] * 5)
    job.bundle()
    job.kafka.gone.add("in")
    idle(job)
    job.kafka.make_again([True] * 9)
    drain(job)
    job.session.close()
    job.kafka.log[A].extend([True] * 9)
    job.kafka.low[A] = 12
    after = Job(kafka=job.kafka)
    after.session.begin()
    with pytest.raises(KafkaError, match="deleted 3 records"):
        after.read()
