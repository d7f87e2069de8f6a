"""The states of a session: which follow which, and that a wrong call is refused instead of losing records."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, B, Job
from tests.kafka.native.memory_kafka import refused
from tests.kafka.native.test_exactly_once import LateExecutor, LateFuture
from transforms.errors import FencedError, KafkaError
from transforms.kafka.native.assignment import AssignmentChange
from transforms.kafka.native.session import KEEP_ALIVE_S
from transforms.kafka.native.states import TRANSITIONS, CommitResult, IllegalTransitionError, State, StateMachine

READING, WAITING, COMMITTING, VOID = State


@pytest.mark.parametrize(("old", "new"), itertools.product(State, State))
def test_only_the_transitions_of_the_table_are_possible(old: State, new: State) -> None:
    machine = StateMachine()
    machine.state = old
    if new is old or new in TRANSITIONS[old]:
        machine.enter(new)
        assert machine.state is new
    else:
        with pytest.raises(IllegalTransitionError, match=f"is {old.value} can't become {new.value}"):
            machine.enter(new)
        assert machine.state is old


def test_the_way_of_a_bundle_that_waits_and_is_committed() -> None:
    job = Job([True] * 3)
    seen = [job.session.state]
    job.session.begin()
    job.read(most=2)
    seen.append(job.session.state)
    job.now += KEEP_ALIVE_S
    job.session.keep_alive()
    seen.append(job.session.state)
    job.session.poll(1, 0.0)
    seen.append(job.session.state)
    job.now += KEEP_ALIVE_S
    job.session.keep_alive()
    seen.append(job.session.state)
    assert job.session.commit() is CommitResult.FINAL
    seen.append(job.session.state)
    assert seen == [READING, READING, WAITING, READING, WAITING, READING]


def test_a_void_bundle_reads_on_after_its_rollback() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.session.give_up("no")
    assert job.session.state is VOID
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    assert job.session.state is VOID, "waiting does not make it good again"
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.session.state is READING
    assert len(job.bundle()) == 3


def test_while_a_commit_is_under_way_the_next_bundle_is_read() -> None:
    job = Job([True] * 3, overlap_from=1, background=(executor := WhenTold()))
    job.session.begin()
    job.read()
    job.write()
    assert job.session.commit() is CommitResult.BEGUN
    assert (job.session.state, job.kafka.committed) == (READING, {A: 0})
    executor.run()
    assert job.session.finish_commit()
    assert job.kafka.committed == {("in", 0): 3}


class WhenTold(LateExecutor):
    """Runs what it was given when the test says so."""

    def __init__(self) -> None:
        super().__init__(lambda: True)

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> concurrent.futures.Future[Any]:
        self.future = super().submit(call, *arguments, **named)
        return self.future

    def run(self) -> None:
        assert isinstance(self.future, LateFuture)
        self.future.run()


def test_a_commit_that_failed_for_good_can_not_be_passed_over() -> None:
    """Else a runner that runs the bundle again would read on behind its records, and they would be lost."""
    job = Job([True] * 3)
    job.kafka.members = [("group-0", "newer")]
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    with pytest.raises(FencedError):
        job.bundle()
    assert job.session.state is COMMITTING
    for call in (
        job.session.begin,
        lambda: job.session.poll(1, 0.0),
        lambda: job.session.poll_nothing(0.0),
        lambda: job.session.write([]),
        job.session.keep_alive,
        job.session.commit,
        job.session.finish_commit,
        job.session.close,
    ):
        with pytest.raises(FencedError):
            call()
    assert job.kafka.committed == {A: 0}
    assert job.consumer.closed, "in any case"


def test_a_background_commit_that_failed_for_good_can_not_be_passed_over() -> None:
    job = Job([True] * 3, overlap_from=1, background=(executor := WhenTold()))
    job.session.begin()
    job.read()
    job.write()
    job.session.commit()
    job.kafka.members = [("group-0", "newer")]
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    executor.run()
    job.session.begin()
    for _ in range(2):
        with pytest.raises(KafkaError):
            job.session.commit()


def test_changes_of_the_assignment_are_handed_over_once_as_one_value() -> None:
    """A partition that went and came back was removed, all the same."""
    job = Job([True], [True])
    a, b = ("in", 0), ("in", 1)
    job.consumer.consume(1, 0.0)
    assert job.session.reader.take_change() == AssignmentChange(frozenset({a, b}), frozenset())
    assert job.session.reader.take_change() is None
    job.steps = [lambda: job.consumer.revoke({a, b}), lambda: job.consumer.assign({a})]
    for _ in range(2):
        job.session.reader.consume(1, 0.0)
    assert job.session.reader.take_change() == AssignmentChange(frozenset({a}), frozenset({a, b}))
    job.steps = [lambda: job.consumer.assign({a})]
    job.session.reader.consume(1, 0.0)
    assert job.session.reader.take_change() == AssignmentChange(frozenset({a}), frozenset()), "a new generation"


def test_a_partition_that_is_lost_during_its_commit_is_not_counted_as_ours() -> None:
    """What others commit of it meanwhile is not known here."""
    job = Job([True] * 3, [True] * 3, overlap_from=1, background=(executor := WhenTold()))
    job.session.begin()
    job.read()
    job.write()
    assert job.session.commit() is CommitResult.BEGUN
    assert (job.session.commits.position(A), job.session.commits.position(B)) == (3, 3)
    executor.run()  # it is through, but nobody has looked yet
    job.steps = [lambda: job.consumer.revoke({A})]
    job.session.begin()
    job.session.poll_nothing(0.0)
    assert (job.session.commits.position(A), job.session.commits.position(B)) == (-1, 3)
    assert job.session.finish_commit()
    assert job.session.commits.offsets == {B: 3}


def test_a_partition_that_is_lost_during_a_commit_that_fails_is_not_sought_back() -> None:
    """It comes back after others have worked on it; the rollback of the failed commit must not go back before that."""
    job = Job([True] * 4, [True] * 4, overlap_from=1, background=(executor := WhenTold()))
    job.session.begin()
    job.read(most=8)
    job.write()
    assert job.session.commit() is CommitResult.BEGUN
    job.steps = [lambda: job.consumer.revoke({A})]
    job.session.begin()
    job.session.poll_nothing(0.0)
    job.kafka.others_work(A, 3)
    job.steps = [lambda: job.consumer.assign({A})]
    job.session.poll_nothing(0.0)
    executor.run()
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.consumer.positions == {A: 3, B: 0}
