"""Where a group starts is committed before anything is read, so that no record is lost without a word."""

from __future__ import annotations

import random
from typing import Any

import confluent_kafka as ck
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_job import A, B, Job
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, refused
from transforms.errors import KafkaError
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.static_reader import StaticReader
from transforms.printable import counted


def restarted(job: Job) -> Job:
    """Kills the process of ``job``: its successor on the same Kafka, which is given all partitions."""
    after = Job(delivery=job.session.config.delivery, kafka=job.kafka)
    after.session.begin()
    return after


@pytest.mark.parametrize("delivery", [EXACTLY_ONCE, AT_LEAST_ONCE])
def test_what_is_deleted_before_the_first_commit_is_missed(delivery: str) -> None:
    """The model server is down from the first bundle on; retention comes by, the process is killed and started again."""
    job = Job([True] * 2_000, delivery=delivery)
    job.session.begin()
    assert len(job.read(most=500)) == 500
    assert job.kafka.committed == {A: 0}
    job.kafka.low[A] = 1_800
    after = restarted(job)
    with pytest.raises(
        KafkaError, match=r"deleted 1,800 records that group 'group' .*in/0: 1,800 \(committed 0, earliest 1800\)"
    ):
        after.read()
    assert job.kafka.outputs == []


def test_a_group_starts_at_the_earliest_record_there_is() -> None:
    """What was deleted before the group came is not missed."""
    job = Job([True] * 5, [True] * 5)
    job.kafka.low[A], job.kafka.committed[B] = 3, 2
    job.session.begin()
    assert job.read() == [(0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]
    assert job.consumer.commits == [{A: 3}], "and nothing of a partition that has a committed offset"


def test_what_is_deleted_while_running_counts_from_what_is_committed() -> None:
    """Of all partitions together, and with the records of the open bundle: they are not answered either."""
    job = Job([True] * 1_000, [True] * 1_000)
    job.session.begin()
    for count in (10, 5):
        job.read(most=count)
    job.kafka.low.update({A: 700, B: 900})
    with pytest.raises(KafkaError, match=r"deleted 1,600 records .*in/0: 700 .*in/1: 900 \(committed 0, earliest 900\)"):
        job.read()


def test_an_offset_beyond_the_end_is_no_matter_of_retention() -> None:
    job = Job([True] * 5)
    job.bundle()
    del job.kafka.log[A][3:]
    job.session.begin()
    with pytest.raises(KafkaError, match="committed offset 5, but the partition ends at 3"):
        job.read()


def test_a_group_that_has_moved_on_is_left_its_starts() -> None:
    """The next member commits them: ours may not, and we will hear of it at the next poll."""
    job = Job([True] * 3)
    real = job.consumer.commit

    def commit(offsets: list[Any], asynchronous: bool) -> list[Any]:
        job.consumer.commit = real  # type: ignore[method-assign]
        raise refused(ck.KafkaError.ILLEGAL_GENERATION)

    job.consumer.commit = commit  # type: ignore[method-assign]
    job.session.begin()
    assert len(job.read()) == 3
    assert job.kafka.committed == {}


def test_a_start_that_is_refused_ends_the_job() -> None:
    job = Job([True] * 3)

    def commit(offsets: list[Any], asynchronous: bool) -> list[Any]:
        raise refused(ck.KafkaError.OFFSET_METADATA_TOO_LARGE)

    job.consumer.commit = commit  # type: ignore[method-assign]
    job.session.begin()
    with pytest.raises(KafkaError, match=r"first offsets of group 'group': OFFSET_METADATA_TOO_LARGE"):
        job.read()


def test_a_static_share_commits_its_starts_too() -> None:
    kafka = MemoryKafka({A: [True] * 4, B: [True] * 4}, low={A: 2})
    consumer = MemoryConsumer(kafka)
    reader = StaticReader(
        KafkaConfig("m", ("in",), "g", assignment="static"), 0, 1, consumer.opened, open_admin=MemoryAdmin(kafka).opened
    )
    reader.consume(1, 0.0)
    assert kafka.committed == {A: 2, B: 0}


def gone(kafka: MemoryKafka) -> int:
    """How many records retention has deleted that nobody has answered."""
    answered = set(kafka.outputs)
    return sum((*partition, offset) not in answered for partition, low in kafka.low.items() for offset in range(low))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.sampled_from([EXACTLY_ONCE, AT_LEAST_ONCE]),
)
def test_no_record_is_lost_without_a_word(sizes: list[int], seed: int, delivery: str) -> None:
    """Bundles, kills and retention in any order: all records are answered, or it is said how many are not."""
    chance = random.Random(seed)
    job = Job(*([True] * size for size in sizes), delivery=delivery)
    job.session.begin()
    job.session.poll_nothing(0.0)  # joins the group
    answering = True
    for _ in range(chance.randint(1, 8)):
        for partition, log in job.kafka.log.items():
            if chance.random() < 0.1:
                job.kafka.low[partition] = chance.randint(job.kafka.low.get(partition, 0), len(log))
        if chance.random() < 0.3:
            job = restarted(job)
        answering = answering and chance.random() < 0.8  # else the model server is down from here on
        try:
            job.session.begin()
            job.read(most=chance.randint(1, 20))
            if answering:
                job.write()
                job.session.commit()
        except KafkaError as error:
            said = str(error)
            break
    else:
        said = ""
    missing = gone(job.kafka)
    assert said == "" or f"retention has deleted {counted(missing, 'record')} " in said
    job = restarted(job)
    if missing:
        with pytest.raises(KafkaError, match=f"retention has deleted {counted(missing, 'record')} "):
            job.read()
    else:
        while job.bundle():
            pass
        assert set(job.kafka.outputs) == set(job.kafka.records())
