"""Sessions on Kafka in memory: what makes a bundle void, what a rollback undoes, and what a commit covers.

``test_exactly_once.py`` has the whole as a property; here is each rule by itself.
"""

from __future__ import annotations

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, B, Job, Recorder
from tests.kafka.native.memory_kafka import refused
from tests.kafka.native.test_exactly_once import LateExecutor
from transforms.errors import FencedError, KafkaError
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS
from transforms.kafka.native.session import KEEP_ALIVE_S
from transforms.kafka.native.states import CommitResult
from transforms.kafka.native.transactional import MAX_REPLACED
from transforms.memory import RECORD_BYTES
from transforms.observe import RollbackCause

NAMESAKE = ("group-0", "newer")
"""A member that another process of this instance has."""

# ---------------------------------------------------------------------- committing


def test_outputs_and_offsets_become_final_together() -> None:
    job = Job([True] * 3)
    job.session.begin()
    assert job.read() == [(0, 0), (0, 1), (0, 2)]
    job.write()
    assert (job.kafka.outputs, job.kafka.committed) == ([], {A: 0})
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]
    assert job.kafka.committed == {A: 3}
    assert job.session.commits.take_count() == 3
    assert job.session.commits.take_count() == 0


def test_outputs_count_until_their_commit_is_final() -> None:
    """They are kept so long, to be mended, while the next bundle is read already."""
    job = Job([True] * 6, overlap_from=1, background=LateExecutor(lambda: True))
    job.session.begin()
    job.read(most=3)
    assert job.session.output_bytes == 0
    job.write()
    of_three = job.session.output_bytes
    assert of_three >= 3 * RECORD_BYTES
    assert job.session.commit() is CommitResult.BEGUN
    job.session.begin()
    job.read()
    assert job.session.output_bytes == of_three, "of the commit in progress"
    job.write()
    assert job.session.output_bytes == 2 * of_three
    assert job.session.finish_commit()
    assert job.session.output_bytes == of_three, "it is final, and only the open bundle's are kept"


def test_what_is_told_of_a_commit(heard: Recorder) -> None:
    """Predictions, dead letters by class, and how long each poll's records took from being read."""
    job = Job([True] * 6)
    job.session.begin()
    job.read(most=4)
    first = job.records
    job.now += 0.5
    job.read()
    job.write([*first, *job.records])
    job.now += 0.25
    job.session.commit()
    assert heard.commits == [(4, {("decode", "E"): 2}, [(0.75, 4), (0.25, 2)])]
    [(ages_s, transaction_s)] = heard.after
    assert (len(ages_s), transaction_s) == (6, 0.25), "each record's age; the transaction began with the first output"
    assert heard.owned == [["in/0"]]


def test_positions_past_markers_are_committed_too() -> None:
    """After the last record stand transaction markers: a group that stops short of them never seems to be done."""
    job = Job([True, False, True, False, False], [False, False])
    assert job.bundle() == [(0, 0), (0, 2)]
    assert job.kafka.committed == {A: 5, B: 2}


def test_positions_alone_are_committed_without_any_record() -> None:
    job = Job([False] * 3)
    assert job.bundle() == []
    assert job.kafka.committed == {A: 3}
    assert job.bundle() == []
    assert not job.producer.open, "and then there is nothing more to commit"


def test_a_bundle_of_nothing_opens_no_transaction() -> None:
    job = Job([])
    assert job.bundle() == []
    assert not job.producer.open


def test_ends_of_before_a_rebalance_say_nothing_after_it() -> None:
    """A partition goes right after its end was met, its records uncommitted; it comes back, and they are still unread."""
    job = Job([True] * 2, [])
    job.steps = [
        lambda: job.consumer.assign({A, B}),
        None,
        None,
        None,
        lambda: job.consumer.revoke({A}),  # after both records and both ends, in the same call
    ]
    job.session.begin()
    assert job.read() == []
    job.session.commit()

    def comes_back() -> None:
        job.consumer.assign({A})
        job.consumer.paused.add(A)  # its first fetch has not come yet

    job.steps = [comes_back]
    assert job.bundle() == []
    assert job.kafka.committed[A] == 0
    job.consumer.paused.clear()
    assert job.bundle() == [(0, 0), (0, 1)]


def test_every_record_must_have_its_outcome() -> None:
    job = Job([True] * 3, one_outcome_each=True)
    job.session.begin()
    job.read()
    job.write(job.records[1:])
    with pytest.raises(KafkaError, match="3 records were read, but 2 outcomes"):
        job.session.commit()
    assert job.kafka.outputs == []


def test_without_that_rule_a_filter_may_stand_between() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write(job.records[1:])
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: 3}


# ---------------------------------------------------------------------- rolling back


def test_a_commit_that_is_refused_is_rolled_back_and_read_again(heard: Recorder) -> None:
    job = Job([True] * 3)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "no", abort=True))
    job.session.begin()
    first = job.read()
    job.write()
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert (job.kafka.outputs, job.kafka.committed, job.producer.aborted) == ([], {A: 0}, 1)
    assert len(heard.rollbacks) == 1
    assert heard.causes == [RollbackCause.KAFKA]
    assert job.session.commits.take_count() == 0
    assert job.bundle() == first
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]


def test_a_retriable_error_is_tried_again_without_a_rollback(heard: Recorder) -> None:
    job = Job([True] * 3)
    job.kafka.send_failures.append(refused(ck.KafkaError.NOT_COORDINATOR, retriable=True))
    job.kafka.commit_failures.append(refused(ck.KafkaError._TIMED_OUT, retriable=True))
    job.bundle()
    assert job.kafka.committed == {A: 3}
    assert heard.rollbacks == []


def test_a_bundle_that_never_came_to_its_commit_is_rolled_back_by_the_next(heard: Recorder) -> None:
    """A DoFn raised, and the runner runs the bundle again."""
    job = Job([True] * 3)
    job.session.begin()
    first = job.read()
    job.write(job.records[:1])
    assert job.bundle() == first
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]
    assert heard.rollbacks == ["the bundle failed"]
    assert heard.causes == [RollbackCause.STAGE]


def test_a_rebalance_in_mid_bundle_makes_it_void(heard: Recorder) -> None:
    job = Job([True] * 5, [True] * 5)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.steps = [lambda: job.consumer.assign(set())]
    assert job.read(timeout_s=0.0) == [], "nothing is handed over that could not be committed"
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert heard.rollbacks == ["the group rebalanced"]
    assert heard.causes == [RollbackCause.REBALANCE]
    assert job.kafka.outputs == []
    assert len(job.bundle()) == 10


def test_records_that_came_with_a_rebalance_are_read_again() -> None:
    """Reading has moved past them, also in partitions that the bundle had none of before."""
    job = Job([True] * 2, [True] * 2)
    job.steps = [lambda: job.consumer.assign({A})]
    job.session.begin()
    assert job.read(most=1) == [(0, 0)]
    job.write()
    job.steps = [lambda: job.consumer.assign({B})]
    assert job.read(timeout_s=0.0) == []
    job.session.commit()
    assert job.bundle() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert job.kafka.committed == {A: 2, B: 2}


def test_a_partition_that_went_and_came_back_is_read_from_what_others_committed() -> None:
    """The rollback of the bundle that it was taken from must not take it back to where that bundle began."""
    job = Job([True] * 4, [True])
    job.session.begin()
    job.read()
    job.write()
    job.steps = [lambda: job.consumer.revoke({A})]
    job.read(timeout_s=0.0)
    job.kafka.others_work(A, 3)
    job.steps = [lambda: job.consumer.assign({A})]
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    job.session.commit()
    assert job.bundle() == [(0, 3), (1, 0)]
    assert sorted(job.kafka.outputs) == sorted(job.kafka.records())


def test_an_expelled_member_is_refused_and_reads_from_what_its_heirs_left(heard: Recorder) -> None:
    """A pause of the machine: the group went on without us, and we learn it from the broker's refusal."""
    job = Job([True] * 6)
    job.session.begin()
    job.read()
    job.write()
    job.consumer.expel()
    job.kafka.others_work(A, 4)
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert "ILLEGAL_GENERATION" in heard.rollbacks[0]
    job.steps = [lambda: job.consumer.assign({A})]
    job.bundle()
    job.bundle()
    assert job.kafka.outputs == [(*A, offset) for offset in range(6)]


def test_too_many_rollbacks_in_a_row_end_the_job() -> None:
    job = Job([True])
    for _ in range(MAX_ROLLBACKS):
        job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "broken for good", abort=True))
        job.bundle()
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "broken for good", abort=True))
    with pytest.raises(KafkaError, match=r"21 bundles in a row could not be committed; .*broken for good"):
        job.bundle()


def test_rebalances_do_not_count_among_them_nor_do_rollbacks_with_commits_between() -> None:
    job = Job([True] * 3)
    for _ in range(MAX_ROLLBACKS + 5):
        job.session.begin()
        job.read()
        job.write()
        job.steps = [lambda: job.consumer.assign(set())]
        job.read(timeout_s=0.0)
        assert job.session.commit() is CommitResult.ROLLED_BACK
    for _ in range(MAX_ROLLBACKS + 5):
        job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, abort=True))
        job.bundle()
        job.kafka.log[A].append(True)
        job.bundle()


def test_a_fenced_producer_says_who_took_over_and_what_to_do() -> None:
    job = Job([True])
    job.kafka.members = [NAMESAKE]
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    said = r"\(member .* at 10\.0\.0\.7\) .*--instance_id=0 has taken over .*group-0.* give every replica an --instance_id"
    with pytest.raises(FencedError, match=said):
        job.bundle()


def test_a_member_that_this_process_was_itself_has_not_taken_over() -> None:
    """Kafka lost it (its broker died), and keeps the member until its session times out; it joined again as another one."""
    job = Job([True] * 2)
    job.session.begin()
    job.read(most=1)
    job.write()
    job.session.commit()
    former, job.consumer.member = job.consumer.member, "joined again"
    job.kafka.members = [(NAMESAKE[0], former), (NAMESAKE[0], "joined again")]
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    job.session.begin()
    job.read()
    job.write()
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.bundle() == [(0, 1)]


def test_a_group_that_is_not_known_has_nobody_who_took_over() -> None:
    """Kafka 4 says so in an error, where it said that there are no members."""
    job = Job([True])
    job.kafka.describe_failures = [refused(ck.KafkaError.GROUP_ID_NOT_FOUND)] * 100
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    job.session.begin()
    job.read()
    job.write()
    assert job.session.commit() is CommitResult.ROLLED_BACK


def test_a_newer_process_is_given_time_to_join_the_group() -> None:
    """It fences first, and joins then."""
    job = Job([True])
    began = job.now

    def wait(seconds: float) -> None:
        job.now += seconds
        if job.now > began + 5:
            job.kafka.members = [("somebody else", "other"), NAMESAKE]

    job.kafka.wait = wait
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    with pytest.raises(FencedError):
        job.bundle()
    assert job.kafka.outputs == []


@pytest.mark.parametrize("where", ["commit_failures", "send_failures"])
def test_fenced_where_nobody_took_over_it_goes_on_with_a_new_producer(where: str) -> None:
    """After a broker's death in the middle of a transaction Kafka fences in the same words (librdkafka 3928)."""
    job = Job([True] * 2)
    job.kafka.members = [("somebody else", "other")]
    getattr(job.kafka, where).append(refused(ck.KafkaError._FENCED, fatal=True))
    assert job.bundle() == [(0, 0), (0, 1)]
    assert job.kafka.outputs == []
    assert job.bundle() == [(0, 0), (0, 1)], "read again"
    assert job.kafka.outputs == [(*A, 0), (*A, 1)]
    assert job.kafka.committed == {A: 2}


def test_a_commit_that_seemed_to_fail_and_whose_abort_fails_is_looked_for() -> None:
    """It may be final: what is read again begins at the committed offsets, not at the bundle's first record."""
    job = Job([True] * 2)
    job.kafka.denied_commits = 1
    assert job.bundle() == [(0, 0), (0, 1)]
    job.kafka.log[A].append(True)
    assert job.bundle() == [(0, 2)]
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]


def test_a_transaction_that_hangs_while_a_newer_process_is_there_names_it() -> None:
    """A new producer of ours would fence the newer process, which has done nothing wrong."""
    job = Job([True])
    job.kafka.members = [NAMESAKE]
    job.kafka.stuck = 1
    with pytest.raises(FencedError, match=r"--instance_id=0 has taken over .* give every replica an --instance_id"):
        job.bundle()
    assert job.kafka.outputs == []


def test_a_new_producer_that_is_fenced_at_once_is_replaced_too() -> None:
    """Its initialization may cross with the coordinator's own abort."""
    job = Job([True])
    fenced = refused(ck.KafkaError._FENCED, fatal=True)
    job.kafka.init_failures += [fenced] * (MAX_REPLACED - 1)
    job.kafka.commit_failures.append(fenced)
    job.bundle()
    assert job.bundle() == [(0, 0)]
    assert job.kafka.outputs == [(*A, 0)]
    job.kafka.init_failures += [fenced] * MAX_REPLACED
    job.kafka.commit_failures.append(fenced)
    job.kafka.log[A].append(True)
    with pytest.raises(KafkaError, match="3 times in a row"):
        job.bundle()


def test_who_may_not_ask_the_group_believes_what_kafka_says() -> None:
    """Else two processes of one name would fence each other in turn."""
    job = Job([True])
    job.kafka.describe_failures.append(refused(ck.KafkaError.GROUP_AUTHORIZATION_FAILED))
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    with pytest.raises(FencedError):
        job.bundle()
