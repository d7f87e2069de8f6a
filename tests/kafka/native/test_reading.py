"""Where reading starts and ends, and how static shares are made."""

from __future__ import annotations

from collections.abc import Callable

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_job import A, B, Job, Recorder
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, refused
from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.states import CommitResult
from transforms.kafka.native.static_reader import StaticReader

# ---------------------------------------------------------------------- ends


def test_records_beyond_the_end_asked_for_are_taken_out_again(heard: Recorder) -> None:
    job = Job([True] * 5, [True] * 2)
    job.session.begin()
    job.read()
    inside = [record for record in job.records if record.offset < 2]
    job.session.drop([record for record in job.records if record.offset >= 2])
    job.write(inside)
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 2, B: 2}
    assert job.session.commits.take_count() == 4
    assert sum(count for *_, reads in heard.commits for _, count in reads) == 4, "no time is told of what is left out"
    assert job.bundle() == [], "no more is read of a partition that is stopped"


def test_whether_anything_lies_beyond_the_ends() -> None:
    """Of a partition that has no end, because it was added after the start, everything does."""
    job = Job([True] * 5, [True] * 2)
    job.session.begin()
    job.read()
    assert not job.session.has_read_beyond({A: 5, B: 2}.__getitem__)
    assert job.session.has_read_beyond({A: 4, B: 2}.__getitem__)
    assert job.session.has_read_beyond({A: 5, B: 0}.__getitem__)


def test_a_partition_of_which_all_lies_beyond_is_committed_at_its_end() -> None:
    job = Job([True] * 5)
    job.session.begin()
    job.read()
    job.session.drop(job.records)
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 0}


def test_a_stopped_partition_that_is_rolled_back_is_read_again() -> None:
    job = Job([True] * 5)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, abort=True))
    for result in (CommitResult.ROLLED_BACK, CommitResult.FINAL):
        job.session.begin()
        assert len(job.read()) == 5
        job.session.drop(job.records[3:])
        job.write(job.records[:3])
        assert job.session.commit() is result
    assert job.kafka.committed == {A: 3}


def test_what_the_whole_group_has_committed() -> None:
    job = Job([True] * 3, [True] * 3, assign=False)
    job.steps = [lambda: job.consumer.assign({A})]
    job.kafka.others.add(B)
    job.bundle()
    assert not job.session.reader.group_has_committed({A: 3, B: 3})
    job.kafka.others_work(B, 3)
    assert job.session.reader.group_has_committed({A: 3, B: 3})


# ---------------------------------------------------------------------- starting


def start(committed: int | None, low: int = 0, size: int = 5) -> list[tuple[int, int]]:
    job = Job([True] * size)
    job.kafka.low[A] = low
    if committed is not None:
        job.kafka.committed[A] = committed
    job.session.begin()
    return job.read()


def test_a_partition_starts_where_the_group_has_committed_or_at_its_earliest_record() -> None:
    assert start(3) == [(0, 3), (0, 4)]
    assert start(None, low=2) == [(0, 2), (0, 3), (0, 4)]
    assert start(5) == []


def test_retention_past_the_committed_offset_is_an_error_with_its_cure() -> None:
    with pytest.raises(KafkaError, match=r"retention has deleted 2 records .*in/0: 2 .*--start_from=committed_or_earliest"):
        start(1, low=3)


def test_a_committed_offset_beyond_the_end_is_an_error_with_its_cure() -> None:
    with pytest.raises(KafkaError, match=r"in/0: .*committed offset 9, but the partition ends at 5.*made again"):
        start(9)


# ---------------------------------------------------------------------- static assignment


def static(
    kafka: MemoryKafka, shard: int, shards: int, clock: Callable[[], float] = lambda: 0.0
) -> tuple[StaticReader, set[Partition]]:
    reader = StaticReader(
        KafkaConfig("m", ("in",), "g", assignment="static"),
        shard,
        shards,
        MemoryConsumer(kafka).opened,
        open_admin=MemoryAdmin(kafka).opened,
        clock=clock,
    )
    found = {(record.topic, record.partition) for record in reader.consume(1_000, 0.0)}
    return reader, found


def test_static_shares_cover_every_partition_once() -> None:
    kafka = MemoryKafka({("in", number): [True] for number in range(7)})
    shares = [static(kafka, shard, 3)[1] for shard in range(3)]
    assert sorted(partition for share in shares for partition in share) == sorted(kafka.log)


def test_a_static_reader_finds_partitions_that_are_added() -> None:
    kafka, now = MemoryKafka({A: [True]}), 0.0
    reader, found = static(kafka, 0, 1, lambda: now)
    assert found == {A}
    kafka.log[B] = [True]
    assert reader.consume(10, 0.0) == []
    now += 10.0  # topic.metadata.refresh.interval.ms: the next look is due
    assert [record.partition for record in reader.consume(10, 0.0)] == [1]
