"""``SessionGuard``: how long a bundle waits for the model server after a request to drain."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from tests.kafka.native.memory_job import Job, Recorder
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session_guard import HOLDING_DRAIN_S, SessionGuard
from transforms.kafka.native.states import CommitResult
from transforms.kafka.stop import request_drain, reset_drain

CONFIG = KafkaConfig("nowhere:1", ("in",), "group")


@pytest.fixture(autouse=True)
def no_drain() -> Iterator[None]:
    yield
    reset_drain()


@pytest.mark.parametrize(
    ("holding", "waits_s", "told"),
    [
        (True, HOLDING_DRAIN_S, "drained while the model server was down"),
        (False, 60.0, "drained before all records were answered"),  # a slow server, or a wait for --rate_limit
    ],
)
def test_a_drain_waits_for_answers_but_hardly_for_a_server_that_is_down(
    holding: bool, waits_s: float, told: str, heard: Recorder
) -> None:
    """What stays unanswered is counted once, and is read again. The reason is the true one."""
    job = Job([True] * 3)
    guard = SessionGuard(CONFIG, 60.0, lambda: job.now, lambda config: job.session)
    job.session.begin()
    assert len(job.read()) == 3
    assert guard.keep_alive(holding), "nobody has asked for a drain"
    request_drain()
    assert guard.keep_alive(holding)
    job.now += waits_s
    assert guard.keep_alive(holding)
    assert heard.unanswered == []
    job.now += 0.1
    assert not guard.keep_alive(holding)
    assert not guard.keep_alive(holding)
    assert heard.unanswered == [3]
    assert job.session.commit() is CommitResult.ROLLED_BACK
    assert heard.rollbacks == [told]
    assert sum(job.kafka.committed.values()) == 0


def test_it_can_be_pickled() -> None:
    pickle.loads(pickle.dumps(SessionGuard(CONFIG, 60.0)))
