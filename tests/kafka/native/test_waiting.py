"""A bundle that waits for the model server: its place in the group, its transaction, and how it is given up."""

from __future__ import annotations

from tests.kafka.native.memory_job import A, B, Job, Recorder
from transforms.kafka.native.session import CAUTIOUS_BUNDLES, KEEP_ALIVE_S
from transforms.kafka.native.states import CommitResult


def test_while_a_bundle_waits_the_group_is_polled_and_nothing_is_read() -> None:
    job = Job([True] * 5)
    job.session.begin()
    first = job.read(most=2)
    job.write()
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        job.steps = [count]

    job.steps = [count]
    assert job.session.keep_alive()
    assert calls == 0, "not yet: it has just polled"
    for _ in range(5):
        job.now += KEEP_ALIVE_S
        assert job.session.keep_alive()
    assert calls == 5
    assert job.consumer.paused == {A}
    job.steps = []
    assert job.session.commit() is CommitResult.FINAL
    assert job.kafka.committed == {A: len(first)}
    assert job.bundle() == [(0, 2), (0, 3), (0, 4)], "reading goes on where it was"


def test_a_partition_that_went_while_paused_is_read_when_it_comes_back() -> None:
    """librdkafka keeps it paused."""
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.now += KEEP_ALIVE_S
    assert job.session.keep_alive()
    job.steps = [lambda: job.consumer.revoke({A})]
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    job.session.commit()
    job.steps = [None, lambda: job.consumer.assign({A})]
    job.bundle()
    assert job.bundle() == [(0, 0), (0, 1), (0, 2)]


def test_a_record_that_strays_in_while_paused_is_read_later() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.steps = [job.consumer.paused.clear]  # it was already on its way
    job.now += KEEP_ALIVE_S
    assert job.session.keep_alive()
    job.session.commit()
    assert job.bundle() == [(0, 2)]


def test_a_rebalance_while_waiting_gives_the_bundle_up() -> None:
    job = Job([True] * 3, [True])
    job.session.begin()
    job.read()
    job.steps = [lambda: job.consumer.revoke({B})]
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    job.write()
    assert job.producer.produced == [], "outcomes of a void bundle are dropped"
    job.session.commit()
    assert job.bundle() == [(0, 0), (0, 1), (0, 2)]


def test_a_transaction_that_grows_too_old_is_aborted_and_its_outputs_wait_for_a_new_one(heard: Recorder) -> None:
    """While it is open, no read_committed reader passes it. No record is asked for again, and the next ones are short."""
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write(job.records[:1])
    job.now += 4.0
    assert job.session.keep_alive()
    job.now += 2.0
    assert job.session.keep_alive()
    assert not job.producer.open
    job.now += 60.0
    job.write(job.records[1:])
    assert job.session.keep_alive()
    assert not job.producer.open, "the rest waits for the commit, too"
    assert job.session.commit() is CommitResult.FINAL
    assert heard.rollbacks == []
    job.kafka.log[A].append(True)
    for number in range(1, CAUTIOUS_BUNDLES + 1):
        job.session.begin()
        job.read()
        job.write()
        assert job.producer.open is (number == CAUTIOUS_BUNDLES), "begun only when everything is there"
        assert job.session.commit() is CommitResult.FINAL
        job.kafka.log[A].append(True)
    assert job.kafka.outputs == job.kafka.records()[: len(job.kafka.outputs)]
    assert len(job.kafka.outputs) == 3 + CAUTIOUS_BUNDLES


def test_giving_up_rolls_back() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.session.give_up("drained while the model server was down")
    assert not job.session.keep_alive()
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert job.kafka.committed == {A: 0}


def test_polling_nothing_keeps_our_place_and_reads_nothing() -> None:
    job = Job([True] * 3)
    job.bundle()
    job.kafka.log[A].append(True)
    job.session.begin()
    job.session.poll_nothing(0.1)
    job.session.poll_nothing(0.1)
    job.session.commit()
    assert job.kafka.committed == {A: 3}
    assert job.bundle() == [(0, 3)]
