"""Records that go over into the next bundle: when they may, what each commit covers, and what a rollback reads again."""

from __future__ import annotations

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, B, Job, Recorder
from tests.kafka.native.memory_kafka import refused
from tests.kafka.native.test_exactly_once import LateExecutor
from tests.kafka.native.test_states import WhenTold
from transforms.errors import KafkaError
from transforms.kafka.native.session_carrier import SessionCarrier
from transforms.kafka.native.states import CommitResult, State
from transforms.kafka.stop import request_drain
from transforms.memory import RECORD_BYTES
from transforms.types import KafkaRecord


def job_of(*logs: list[bool], **options: object) -> Job:
    return Job(*logs, one_outcome_each=True, **options)  # type: ignore[arg-type]


def carry(
    job: Job, answered: int, most: int = 100, result: CommitResult = CommitResult.FINAL
) -> tuple[object, list[KafkaRecord]]:
    """A bundle that reads, answers so many of its records, and carries the others over."""
    job.session.begin()
    job.read(most)
    records = job.records
    job.session.leave_more()
    job.write(records[:answered])
    carried = job.session.carry(records[answered:])
    assert carried is not None
    assert job.session.commit() is result
    return carried, records[answered:]


def offsets(records: list[KafkaRecord]) -> list[tuple[str, int, int]]:
    return sorted((record.topic, record.partition, record.offset) for record in records)


# ---------------------------------------------------------------------- what is committed


def test_a_commit_covers_what_is_answered_and_the_next_one_the_rest(heard: Recorder) -> None:
    job = job_of([True] * 6)
    job.session.begin()
    job.read(most=4)
    first = job.records
    job.now += 0.5
    job.session.leave_more()
    job.write(first[:1])
    carried = job.session.carry(first[1:])
    job.now += 0.25
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 1}
    assert job.kafka.outputs == [(*A, 0)]
    assert job.session.commits.take_count() == 1
    assert (job.session.inherited.count, job.session.inherited.size) == (3, 3 * (RECORD_BYTES + 2))
    job.session.begin()
    assert job.session.take_over(carried)
    assert job.read() == [(0, 4), (0, 5)], "what is carried is not read again"
    job.write([*first[1:], *job.records])
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 6}
    assert job.kafka.outputs == [(*A, offset) for offset in range(6)]
    assert job.session.commits.take_count() == 5
    assert [reads for _, _, reads in heard.commits] == [[(0.75, 1)], [(0.75, 3), (0.0, 2)]], "each since it was read"
    assert job.session.inherited.count == 0


def test_of_each_partition_the_commit_ends_before_its_first_carried_record() -> None:
    """The records of partitions come mixed; one partition may be carried whole."""
    job = job_of([True] * 3, [True] * 3, [True] * 3)
    job.session.begin()
    job.read(most=7)
    answered, left = job.records[:3], job.records[3:]
    job.session.leave_more()
    job.write(answered)
    job.session.carry(left)
    job.session.commit()
    for partition in job.kafka.log:
        kept = [record.offset for record in answered if (record.topic, record.partition) == partition]
        assert job.kafka.committed[partition] == len(kept)
    assert sorted(job.kafka.outputs) == offsets(answered)


def test_no_position_past_a_carried_record_is_committed() -> None:
    """Behind it stand markers, and the end of the partition: to commit that would lose it."""
    job = job_of([True, True, False, False], [False, False])
    carried, left = carry(job, 1)
    assert job.kafka.committed == {A: 1, B: 2}
    job.session.begin()
    job.read()
    assert job.session.take_over(carried)
    job.write(left)
    job.session.commit()
    assert job.kafka.committed == {A: 4, B: 2}


def test_what_is_carried_may_be_carried_on_behind_an_outcome() -> None:
    job = job_of([True] * 9)
    carried, left = carry(job, 1, most=3)
    job.session.begin()
    job.read(most=3)
    assert job.session.take_over(carried)
    left += job.records
    job.session.leave_more()
    assert job.session.carry(left) is None, "it has no outcome of its own yet"
    job.write(left[:1])
    carried = job.session.carry(left[1:])
    assert carried is not None
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 2}
    job.session.begin()
    assert job.session.take_over(carried)
    job.write(left[1:])
    job.session.commit()
    assert job.kafka.outputs == [(*A, offset) for offset in range(6)]


def test_outcomes_are_counted_against_what_is_not_carried() -> None:
    job = job_of([True] * 4)
    job.session.begin()
    job.read()
    job.session.leave_more()
    job.write(job.records[:1])
    job.session.carry(job.records[2:])
    with pytest.raises(KafkaError, match="2 records were read, but 1 outcomes"):
        job.session.commit()
    assert job.kafka.outputs == []
    job.session.begin()
    assert len(job.read()) == 4, "all of them again"


# ---------------------------------------------------------------------- when records may go over


def test_not_where_all_there_was_is_read() -> None:
    job = job_of([True] * 3)
    job.session.begin()
    job.read()
    job.write(job.records[:1])
    assert job.session.carry(job.records[1:]) is None


def test_not_before_the_first_outcome() -> None:
    job = job_of([True] * 3)
    job.session.begin()
    job.read()
    job.session.leave_more()
    assert job.session.carry(job.records) is None


def test_not_where_a_record_may_have_no_outcome_or_two() -> None:
    """Then nobody knows by their count which records the outcomes belong to."""
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.session.leave_more()
    job.write(job.records[:1])
    assert job.session.carry(job.records[1:]) is None


def test_not_from_a_bundle_that_is_void() -> None:
    job = job_of([True] * 3)
    job.session.begin()
    job.read()
    job.session.leave_more()
    job.write(job.records[:1])
    job.session.give_up("drained")
    assert job.session.carry(job.records[1:]) is None


def test_after_a_transaction_that_was_open_for_too_long_a_backlog_is_still_committed_as_it_is_answered() -> None:
    """The next ten bundles buffer their outputs. They waited for all of their records: up to 32,768, of a slow server."""
    job = job_of([True] * 20)
    job.session.begin()
    job.read(most=6)
    job.session.leave_more()
    job.write(job.records[:1])
    left = job.records[1:]
    job.now += 6.0
    assert job.session.keep_alive()
    assert not job.producer.open, "it was open for too long"
    for bundle in range(1, 5):
        carried = job.session.carry(left)
        assert carried is not None
        assert not job.producer.open, "the transaction is for the commit alone"
        assert job.session.commit() is CommitResult.FINAL
        assert job.kafka.outputs == [(*A, offset) for offset in range(bundle)]
        assert job.kafka.committed == {A: bundle}
        job.session.begin()
        job.read(most=1)
        assert job.session.take_over(carried)
        left += job.records
        job.session.leave_more()
        job.write(left[:1])
        left = left[1:]


def test_not_during_a_drain(not_draining: None) -> None:
    job = job_of([True] * 3)
    carrier = SessionCarrier(job.session.config, lambda config: job.session)
    job.session.begin()
    job.read()
    job.session.leave_more()
    job.write(job.records[:1])
    carried = carrier.carry(job.records[1:])
    assert carried is not None
    request_drain()
    assert carrier.carry(job.records[1:]) is None


# ---------------------------------------------------------------------- rolled back


def roll_back_a_stage(job: Job) -> None:
    job.session.begin()
    job.read(most=1)
    job.session.begin()


def roll_back_by_a_rebalance(job: Job) -> None:
    job.steps = [lambda: job.consumer.assign(set(job.kafka.log))]
    job.session.begin()
    job.session.poll(1, 0.0)
    assert job.session.state is State.VOID
    assert job.session.commit() is CommitResult.ROLLED_BACK
    job.session.begin()


def give_up(job: Job) -> None:
    job.session.begin()
    assert job.session.give_up("no") == 2, "those carried count, too"
    assert job.session.commit() is CommitResult.ROLLED_BACK
    job.session.begin()


@pytest.mark.parametrize("roll_back", [roll_back_a_stage, roll_back_by_a_rebalance, give_up])
def test_a_bundle_that_fails_takes_what_it_has_inherited_with_it(roll_back: object) -> None:
    job = job_of([True] * 5)
    carried, _ = carry(job, 2, most=4)
    roll_back(job)  # type: ignore[operator]
    assert not job.session.take_over(carried)
    assert job.session.inherited.count == 0
    assert job.read() == [(0, 2), (0, 3), (0, 4)], "and nothing that is committed"
    job.write()
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.outputs == [(*A, offset) for offset in range(5)]


def test_in_a_void_bundle_nothing_is_taken_over() -> None:
    job = job_of([True] * 5)
    carried, _ = carry(job, 2, most=4)
    job.session.begin()
    job.session.give_up("no")
    assert not job.session.take_over(carried)


def test_a_refused_commit_takes_what_it_leaves_over_with_it() -> None:
    job = job_of([True] * 4)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "no", abort=True))
    carried, _ = carry(job, 2, result=CommitResult.ROLLED_BACK)
    job.session.begin()
    assert not job.session.take_over(carried)
    assert job.read() == [(0, offset) for offset in range(4)]


def test_a_background_commit_that_fails_takes_the_next_bundle_with_it(heard: Recorder) -> None:
    """Its records come before those carried over."""
    job = job_of([True] * 6, overlap_from=1, background=(executor := WhenTold()))
    carried, left = carry(job, 2, most=4, result=CommitResult.BEGUN)
    job.session.begin()
    job.read()
    assert job.session.take_over(carried)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "no", abort=True))
    executor.run()
    job.write([*left, *job.records])
    assert job.session.state is State.VOID
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert (job.kafka.outputs, job.kafka.committed) == ([], {A: 0})
    assert len(heard.rollbacks) == 1
    job.session.begin()
    assert job.read() == [(0, offset) for offset in range(6)]


def test_a_failed_background_commit_is_noticed_before_anything_is_taken_over() -> None:
    job = job_of([True] * 6, overlap_from=1, background=LateExecutor(lambda: True))
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "no", abort=True))
    carried, _ = carry(job, 2, most=4, result=CommitResult.BEGUN)
    job.session.begin()
    assert not job.session.finish_commit()
    assert not job.session.take_over(carried)
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.bundle() == [(0, offset) for offset in range(6)]


def test_where_the_outcome_of_a_commit_is_unknown_the_next_bundle_goes_back_to_what_is_committed() -> None:
    job = job_of([True] * 6)
    job.kafka.hung_commits = 1
    carried, _ = carry(job, 2, most=4, result=CommitResult.ROLLED_BACK)
    job.session.begin()
    assert not job.session.take_over(carried)
    assert job.read() == [(0, offset) for offset in range(2, 6)], "it was final"


def test_a_partition_that_goes_takes_its_carried_records_with_it() -> None:
    job = job_of([True] * 3, [True] * 3)
    carried, _ = carry(job, 1)
    before = dict(job.kafka.committed)
    job.steps = [lambda: job.consumer.revoke({A})]
    job.session.begin()
    job.read()
    job.kafka.others_work(A, 3)
    assert not job.session.take_over(carried)
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.bundle() == [(1, offset) for offset in range(before[B], 3)]
    assert sorted(job.kafka.outputs) == [(*A, offset) for offset in range(3)] + [(*B, offset) for offset in range(3)]


def test_another_copy_of_the_stage_gets_the_records_anew_and_none_are_carried_again() -> None:
    """A runner may give the next bundle to a copy that does not have the requests in flight."""
    job = job_of([True] * 6)
    carry(job, 1, most=3)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.session.leave_more()
    assert job.session.carry([]) is None
    assert job.session.commit() is CommitResult.ROLLED_BACK
    job.session.begin()
    assert job.read() == [(0, offset) for offset in range(1, 6)]
    job.session.leave_more()
    job.write(job.records[:2])
    assert job.session.carry(job.records[2:]) is None
    job.write(job.records[2:])
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.outputs == [(*A, offset) for offset in range(6)]


def test_what_an_earlier_bundle_carried_is_not_taken_for_what_this_one_has() -> None:
    job = job_of([True] * 8)
    old, _ = carry(job, 1, most=3)
    roll_back_a_stage(job)
    job.read(most=3)
    job.session.leave_more()
    job.write(job.records[:1])
    new = job.session.carry(job.records[1:])
    job.session.commit()
    job.session.begin()
    assert not job.session.take_over(old)
    assert job.session.take_over(new)


def test_a_session_that_closes_leaves_carried_records_unread() -> None:
    job = job_of([True] * 4)
    carry(job, 1)
    job.session.close()
    assert job.kafka.committed == {A: 1}


def test_carried_records_are_committed_under_the_generation_in_which_they_were_read() -> None:
    """Also where the client has joined a later one before anybody was told: who has their partition then is not known."""
    job = job_of([True] * 4)
    carried, left = carry(job, 1)
    job.session.begin()
    job.kafka.generation += 1
    job.consumer.generation = job.kafka.generation
    assert job.session.take_over(carried)
    job.write(left)
    assert job.session.commit() is CommitResult.ROLLED_BACK
    job.session.begin()
    assert job.read() == [(0, 1), (0, 2), (0, 3)]
    job.write()
    assert job.session.commit() is CommitResult.FINAL, "read anew, under the present one"
