"""When a session gives up."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from transforms.errors import KafkaError
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS, Rollbacks


def test_a_job_without_a_sink_is_told_what_to_add() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    for _ in range(MAX_ROLLBACKS):
        rollbacks.rolled_back("why", rebalanced=False)
    with pytest.raises(KafkaError, match=r"21 bundles in a row.*because: why; nothing has committed.*WriteToKafka"):
        rollbacks.rolled_back("why", rebalanced=False)


def test_a_job_whose_sink_was_reached_is_not() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    rollbacks.sink_reached()
    for _ in range(MAX_ROLLBACKS):
        rollbacks.rolled_back("why", rebalanced=False)
    with pytest.raises(KafkaError, match=r"because: why$"):
        rollbacks.rolled_back("why", rebalanced=False)


def test_a_commit_forgives_and_a_rebalance_does_not_count() -> None:
    rollbacks = Rollbacks(Mock(), Mock())
    for _ in range(3 * MAX_ROLLBACKS):
        rollbacks.rolled_back("why", rebalanced=True)
    rollbacks.rolled_back("why", rebalanced=False)
    assert rollbacks.in_a_row == 1
    rollbacks.committed()
    assert rollbacks.in_a_row == 0
