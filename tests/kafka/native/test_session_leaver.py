"""``SessionLeaver``: what the commit covers when a job stops and leaves records, and where the next run goes on."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator

import pytest

from tests.kafka.native.memory_job import A, B, Job, Recorder
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session_guard import SessionGuard
from transforms.kafka.native.session_leaver import SessionLeaver
from transforms.kafka.native.states import CommitResult
from transforms.kafka.stop import StopConditions, request_drain, reset_drain
from transforms.observe import RollbackCause

CONFIG = KafkaConfig("nowhere:1", ("in",), "group")


@pytest.fixture(autouse=True)
def no_drain() -> Iterator[None]:
    yield
    reset_drain()


def leaver_of(job: Job) -> SessionLeaver:
    return SessionLeaver(CONFIG, StopConditions(), lambda config: job.session)


@pytest.mark.parametrize("answered", [0, 1, 3, 5])
def test_the_commit_ends_before_what_is_left(answered: int, heard: Recorder) -> None:
    """Also of a partition that was read to its end: nothing behind what is left is committed."""
    job = Job([True] * 4, [True] * 2, one_outcome_each=True)
    job.session.begin()
    assert len(job.read()) == 6
    records = job.records
    job.write(records[:answered])
    assert leaver_of(job).leave(records[answered:])
    assert job.session.commit() is CommitResult.FINAL
    assert heard.unanswered == [6 - answered]
    outputs = [record[:3] for record in records[:answered]]  # the partitions come mixed
    committed = {partition: offset for partition, offset in job.kafka.committed.items() if offset}
    assert committed == {(topic, partition): offset + 1 for topic, partition, offset in outputs}
    assert sorted(job.kafka.outputs) == sorted(outputs)
    job.session.begin()
    assert job.read() == [], "nothing is read behind it"
    job.session.close()
    again = Job(kafka=job.kafka, one_outcome_each=True)
    again.session.begin()
    again.read()
    again.write()
    assert again.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 4, B: 2}
    assert sorted(job.kafka.outputs) == [*((*A, offset) for offset in range(4)), *((*B, offset) for offset in range(2))]


def test_a_void_bundle_leaves_nothing(heard: Recorder) -> None:
    job = Job([True] * 4)
    job.session.begin()
    job.read()
    job.session.give_up("test", RollbackCause.ENDED)
    assert not leaver_of(job).leave(job.records)
    assert heard.unanswered == []
    assert job.session.commit() is CommitResult.ROLLED_BACK


def test_a_drain_and_the_end_of_the_time_stop_it() -> None:
    assert not SessionLeaver(CONFIG, StopConditions()).stops()
    assert not SessionLeaver(CONFIG, StopConditions(drain_at_s=time.time() + 60)).stops()
    assert SessionLeaver(CONFIG, StopConditions(drain_at_s=time.time())).stops()
    request_drain()
    assert pickle.loads(pickle.dumps(SessionLeaver(CONFIG, StopConditions()))).stops()


def test_the_end_of_the_time_is_a_request_to_drain(heard: Recorder) -> None:
    """A bundle that waited for a server that is down waited on, however long ``--duration_s`` had been over."""
    job = Job([True] * 3)
    stop = StopConditions(drain_at_s=time.time())
    guard = SessionGuard(CONFIG, 60.0, lambda: job.now, lambda config: job.session, stop)
    job.session.begin()
    job.read()
    assert guard.keep_alive(holding=True)
    job.now += 2
    assert not guard.keep_alive(holding=True)
    assert heard.unanswered == [3]
