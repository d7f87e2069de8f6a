"""When a session gives up."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from tests.kafka.native.memory_job import Job
from transforms.errors import KafkaError
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS, Rollbacks
from transforms.kafka.native.states import CommitResult
from transforms.observe import RollbackCause


def test_a_job_without_a_sink_is_told_what_to_add() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    for _ in range(MAX_ROLLBACKS):
        rollbacks.rolled_back("why", own=True)
    with pytest.raises(KafkaError, match=r"21 bundles in a row.*because: why; nothing has committed.*WriteToKafka"):
        rollbacks.rolled_back("why", own=True)


def test_a_job_whose_sink_was_reached_is_not() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    rollbacks.sink_reached()
    for _ in range(MAX_ROLLBACKS):
        rollbacks.rolled_back("why", own=True)
    with pytest.raises(KafkaError, match=r"because: why$"):
        rollbacks.rolled_back("why", own=True)


def test_a_commit_forgives_and_a_rebalance_does_not_count() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    for _ in range(3 * MAX_ROLLBACKS):
        rollbacks.rolled_back("why", own=False)
    rollbacks.rolled_back("why", own=True)
    assert rollbacks.in_a_row == 1
    rollbacks.committed()
    assert rollbacks.in_a_row == 0


def test_a_bundle_that_another_shard_has_ended_is_no_failure_of_this_one() -> None:
    """An idle shard of Flink's: its neighbour fails now and then over weeks, and it never has anything to commit."""
    job = Job([True] * 3)
    for _ in range(MAX_ROLLBACKS + 5):
        job.session.begin()
        job.read()
        job.session.give_up("another shard", RollbackCause.SHARD)
        assert job.session.commit() is CommitResult.ROLLED_BACK
