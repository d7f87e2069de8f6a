"""A session without a sink, on Kafka in memory: what is committed, when, and what is read again."""

from __future__ import annotations

import pytest

from tests.kafka.native.memory_alone import A, Alone, B
from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.alone import FINAL_WITHIN_S, MOST_OUTSTANDING
from transforms.kafka.native.consumer import GroupReader
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.polling import Polling
from transforms.kafka.stop import StopConditions


def test_offsets_are_committed_once_the_bundle_is_final_and_not_before() -> None:
    alone = Alone([True] * 3)
    found, finalise = alone.bundle()
    assert found == [(0, 0), (0, 1), (0, 2)]
    alone.idle()
    assert alone.kafka.committed == {A: 0}, "where the group began"
    finalise()
    assert alone.kafka.committed == {A: 0}, "the callback's thread touches no consumer"
    alone.idle()
    assert alone.kafka.committed == {A: 3}


def test_a_later_bundle_that_is_final_first_commits_nothing_of_an_earlier_one() -> None:
    alone = Alone([True] * 6)
    _, first = alone.bundle(2)
    _, second = alone.bundle(2)
    second()
    alone.idle()
    assert alone.kafka.committed == {A: 0}
    first()
    alone.idle()
    assert alone.kafka.committed == {A: 4}
    assert alone.consumer.commits == [{A: 0}, {A: 4}], "both at once, and each once"


def test_a_bundle_that_the_runner_runs_again_reads_the_same_records() -> None:
    alone = Alone([True] * 6)
    _, first = alone.bundle(2)
    alone.idle()
    assert alone.read(2) == [(0, 2), (0, 3)]  # it fails on the way: not handed over
    first()
    assert alone.read() == [(0, 2), (0, 3), (0, 4), (0, 5)], "the first one had become final meanwhile"


def test_a_bundle_that_fails_after_the_source_was_done_with_it_is_never_passed() -> None:
    """A later stage, or its ``finish_bundle``, raised: the source has handed the bundle over, and learns of nothing."""
    alone = Alone([True] * 6)
    _, first = alone.bundle(2)
    _, failed = alone.bundle(2)
    first()
    alone.number -= 1  # again
    assert alone.read() == [(0, 2), (0, 3), (0, 4), (0, 5)]
    failed()  # and late, for nothing
    finalise = alone.session.hand_over()
    alone.number += 1
    alone.idle()
    assert alone.kafka.committed == {A: 2}
    assert finalise is not None
    finalise()
    alone.idle()
    assert alone.kafka.committed == {A: 6}


def test_a_runner_that_goes_back_to_a_checkpoint_reads_from_the_committed_offsets() -> None:
    """Of three bundles the first was in the checkpoint; its callback had come."""
    alone = Alone([True] * 9)
    _, first = alone.bundle(3)
    checkpoint = alone.number
    alone.bundle(3)
    alone.bundle(3)
    first()
    alone.number = checkpoint
    assert alone.bundle()[0] == [(0, offset) for offset in range(3, 9)]


def test_another_process_goes_on_from_what_was_committed() -> None:
    alone = Alone([True] * 4)
    _, first = alone.bundle(2)
    alone.bundle(2)
    first()
    alone.idle()
    alone.open()  # the first was killed
    alone.steps.append(lambda: alone.consumer.assign({A}))
    assert alone.bundle()[0] == [(0, 2), (0, 3)]


def test_a_revoked_partition_is_not_committed_though_its_bundle_becomes_final() -> None:
    alone = Alone([True] * 2, [True] * 2)
    _, finalise = alone.bundle()
    alone.steps.append(lambda: alone.consumer.revoke({A}))
    alone.idle()
    alone.kafka.others_work(A, 1)
    finalise()
    alone.idle()
    assert alone.kafka.committed == {A: 1, B: 2}, "the other member's offset stands"


def test_a_partition_that_is_revoked_while_its_bundle_is_read_is_not_committed() -> None:
    alone = Alone([True] * 2, [True] * 2)
    assert alone.read() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    alone.steps.append(lambda: alone.consumer.revoke({A}))
    alone.session.poll(1, 0.1)
    alone.kafka.others_work(A, 1)
    finalise = alone.session.hand_over()
    alone.number += 1
    assert finalise is not None
    finalise()
    alone.idle()
    assert alone.kafka.committed == {A: 1, B: 2}, "the other member's offset stands"


def test_a_partition_that_comes_back_is_committed_by_what_is_read_anew() -> None:
    alone = Alone([True] * 4)
    _, before = alone.bundle(3)
    alone.steps += [lambda: alone.consumer.revoke({A}), lambda: alone.consumer.assign({A})]
    alone.idle()
    alone.kafka.committed[A] = 1  # the other member's work meanwhile
    before()
    alone.idle()
    assert alone.kafka.committed == {A: 1}
    alone.steps += [lambda: alone.consumer.revoke({A}), lambda: alone.consumer.assign({A})]
    found = alone.bundle()[0] or alone.bundle()[0]
    assert found == [(0, 1), (0, 2), (0, 3)]


def test_finalisers_that_do_not_come_in_time_mean_that_records_are_read_again() -> None:
    alone = Alone([True] * 6)
    _, first = alone.bundle(2)
    first()
    _, dropped = alone.bundle(2)
    alone.idle()
    alone.wait(FINAL_WITHIN_S + 1)
    assert alone.read() == [(0, 2), (0, 3), (0, 4), (0, 5)]
    dropped()
    alone.session.hand_over()
    alone.number += 1
    alone.idle()
    assert alone.kafka.committed == {A: 2}


def test_a_runner_that_never_finalises_ends_the_job_with_what_to_add() -> None:
    alone = Alone([True] * 2)
    alone.bundle()
    alone.wait(FINAL_WITHIN_S - 1)
    alone.idle()
    alone.wait(2)
    with pytest.raises(KafkaError, match=r"does not finalise bundles.*--checkpointing_interval.*WriteToKafka\(config\)"):
        alone.idle()


def test_no_more_than_so_many_bundles_are_with_the_runner() -> None:
    alone = Alone([True] * (MOST_OUTSTANDING + 5))
    finalise = [alone.bundle(1)[1] for _ in range(MOST_OUTSTANDING)]
    assert alone.session.is_full
    finalise[0]()
    alone.idle()
    assert not alone.session.is_full


def test_nothing_to_commit_needs_no_finaliser() -> None:
    alone = Alone([True])
    alone.bundle()[1]()
    alone.idle()
    alone.session.begin(alone.number)
    assert alone.session.poll(1, 0.1) == []
    assert alone.session.hand_over() is None


def test_markers_behind_the_last_record_are_committed_with_it() -> None:
    """Else the group would seem to lag behind for ever."""
    alone = Alone([True, False, False])
    alone.bundle()[1]()
    alone.idle()
    assert alone.kafka.committed == {A: 3}


def test_records_are_used_up_when_they_are_read_and_given_back_when_they_are_read_again() -> None:
    alone = Alone([True] * 4)
    alone.bundle(3)
    assert alone.session.take_count() == 3
    alone.number -= 1
    alone.read(4)
    assert alone.session.take_count() == -3


def test_the_end_is_reached_when_all_is_final() -> None:
    alone = Alone([True] * 2)
    _, finalise = alone.bundle()
    assert not alone.session.finish_commit()
    finalise()
    assert alone.session.finish_commit()
    assert alone.session.position(A) == 2


def test_closing_commits_what_is_final_and_nothing_else() -> None:
    alone = Alone([True] * 4)
    _, first = alone.bundle(2)
    alone.bundle(2)
    first()
    alone.session.close()
    assert alone.kafka.committed == {A: 2}
    assert alone.consumer.closed


def test_a_topic_that_is_made_again_fails_the_bundle() -> None:
    alone = Alone([True] * 2)
    _, finalise = alone.bundle()
    alone.wait(1)
    alone.kafka.make_again([True] * 5, forget=True)
    finalise()
    with pytest.raises(InputLostError, match="deleted and made again"):
        alone.bundle()


class Gone(GroupReader):
    """Finds that the topic is gone when it is asked, which is before what was read is handed over."""

    def confirm(self) -> None:
        raise InputLostError("gone")


def test_what_was_read_of_a_topic_that_is_gone_is_not_handed_over() -> None:
    alone = Alone([True] * 2, reader=Gone)
    alone.read()
    with pytest.raises(InputLostError, match="gone"):
        alone.session.hand_over()


def test_a_lost_commit_is_made_up_for_at_the_end() -> None:
    """The group rebalanced before it: Kafka refuses a commit of the former generation."""
    alone = Alone([True] * 2)
    _, finalise = alone.bundle()
    finalise()
    alone.kafka.generation += 1
    alone.idle()
    assert alone.kafka.committed == {A: 0}
    alone.consumer.generation = alone.kafka.generation
    alone.session.close()
    assert alone.kafka.committed == {A: 2}


def test_polling_reads_no_more_than_the_budget_though_nothing_is_final_yet() -> None:
    alone = Alone([True] * 10)
    polling = Polling(KafkaConfig("memory:9092", ("in",), "group"), StopConditions(max_records=4), lambda: alone.now)
    read, finalisers = 0, []
    for _ in range(5):
        alone.session.begin(alone.number)
        if polling.finished(alone.session):
            alone.session.poll_nothing(0.1)
        else:
            read += sum(map(len, polling.chunks(alone.session)))
        finalisers.append(alone.session.hand_over())
        alone.number += 1
    assert read == 4
    assert polling.finished(alone.session)
    assert not alone.session.finish_commit()
    for finalise in filter(None, finalisers):
        finalise()
    assert alone.session.finish_commit()
