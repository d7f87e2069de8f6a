"""Which session a bundle finds: by its thread, one a shard, and a new one beside a bundle that the runner has given up."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from transforms.errors import FencedError, KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sessions import IDLE_S, SessionKey, Sessions
from transforms.kafka.native.states import CommitResult
from transforms.types import OutputRecord

CONFIG = KafkaConfig("memory:9092", ("in",), "group", "shard", assignment="static")
MOVING = dataclasses.replace(CONFIG, shards_move=True)
_T = TypeVar("_T")


class FakeSession:
    """Remembers what it was told."""

    def __init__(self, config: KafkaConfig, shard: int = 0, shards: int = 1, *, claim: bool = False):
        self.config, self.shard, self.shards = config, shard, shards
        self.written: list[int] = []
        self.commits = 0
        self.result = CommitResult.FINAL
        self.discarded = self.closed = False
        self.lives = True
        self.fenced = False

    def write(self, records: list[OutputRecord]) -> None:
        if self.fenced:
            raise FencedError("fenced")
        self.written += [record.source[1] for record in records]

    def commit(self) -> CommitResult:
        self.commits += 1
        if self.fenced:
            raise FencedError("fenced")
        return self.result

    def keep_alive(self) -> bool:
        return self.lives

    def give_up(self, reason: str, cause: object = None) -> int:
        self.lives = False
        return 3

    def discard(self) -> None:
        self.discarded = True

    def close(self) -> None:
        self.closed = True


class Process:
    """The sessions of a process, whose clock the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sessions = Sessions(FakeSession, lambda: self.now, lambda: 1.0)  # type: ignore[arg-type]  # as much as is called

    def at(self, shard: int, shards: int = 2) -> Any:
        return self.sessions.enter(SessionKey(CONFIG, shard, shards))

    def leave(self) -> None:
        self.sessions.leave(CONFIG)

    def abandon(self) -> None:
        self.sessions.abandon(CONFIG)

    def of_bundle(self) -> Any:
        return self.sessions.of_bundle(CONFIG)


@pytest.fixture
def process() -> Process:
    return Process()


def elsewhere(call: Callable[[], _T]) -> _T:
    """Calls it in another thread."""
    found: list[_T] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def output(partition: int) -> OutputRecord:
    return OutputRecord("out", None, b"", [], None, ("in", partition, 0), None)


def test_without_shards_the_process_has_one_session(process: Process) -> None:
    assert process.of_bundle() is elsewhere(lambda: process.of_bundle())


def test_what_has_ended_is_closed_behind_the_bundle_that_ended_it(process: Process) -> None:
    """Its commit is still to come then. The next job of the process has a session of its own."""
    first = process.of_bundle()
    process.leave()
    assert not first.closed, "another bundle follows"
    process.sessions.end(CONFIG)
    assert process.of_bundle() is first
    assert not first.closed
    process.leave()
    assert first.closed
    second = process.of_bundle()
    assert second is not first
    process.leave()
    assert not second.closed


def test_the_session_of_a_job_that_failed_can_be_closed_at_once(process: Process) -> None:
    first = process.of_bundle()
    process.sessions.close_job(CONFIG)
    assert first.closed
    process.sessions.close_job(CONFIG)  # there is none any more
    assert process.of_bundle() is not first


def test_each_shard_has_a_session_with_a_name_of_its_own(process: Process) -> None:
    """Threads at work at the same time do not meet, and the transactional ids differ."""
    mine: Any = process.at(0)
    other: Any = elsewhere(lambda: process.at(1))
    assert process.of_bundle() == mine
    assert (mine.shard, other.shard, mine.shards) == (0, 1, 2)
    assert (mine.config.transactional_id, other.config.transactional_id) == ("group-shard-0", "group-shard-1")


def test_the_next_bundle_of_a_shard_finds_it_again_in_whatever_thread(process: Process) -> None:
    first = process.at(0)
    process.leave()
    assert elsewhere(lambda: process.at(0)) is first
    assert not first.discarded


def test_a_bundle_given_up_by_the_engine_keeps_its_session_and_the_newer_one_has_another(process: Process) -> None:
    """The newer producer fences the older one; the older bundle's end must not touch what the newer one uses."""
    old = process.at(0)
    new: Any = elsewhere(lambda: process.at(0))
    assert new is not old
    assert process.of_bundle() == old
    process.abandon()
    assert old.discarded
    assert not new.discarded
    assert process.sessions._entries[SessionKey(CONFIG, 0, 2)].session is new


def test_after_a_failed_bundle_there_is_a_new_session(process: Process) -> None:
    first = process.at(0)
    process.abandon()
    assert first.discarded
    assert process.at(0) is not first


def test_a_long_bundle_does_not_make_its_session_idle(process: Process) -> None:
    """Idle is what no bundle has used since: not what one has used for long."""
    slow = process.at(0)
    process.now += IDLE_S + 40
    process.leave()
    process.now += 0.01
    process.at(1)
    assert not slow.discarded


def test_a_shard_that_went_elsewhere_is_closed_by_and_by(process: Process) -> None:
    """Its consumer would hold records in memory for nothing."""
    gone = process.at(1)
    process.leave()
    process.at(0)
    assert not gone.discarded
    process.leave()
    process.now += IDLE_S + 0.01
    process.at(0)
    assert gone.discarded


def test_without_shards_the_session_is_never_idle(process: Process) -> None:
    """It is the only reader of its job: no other worker reads the partitions when it is closed."""
    whole: Any = process.of_bundle()
    assert (whole.shard, whole.shards) == (0, 1)
    process.now += IDLE_S + 0.01
    for shard in (0, 1):  # of another job with the same configuration
        assert process.at(shard) is not whole
    assert not whole.discarded
    process.leave()
    assert process.of_bundle() is whole


def test_several_shards_in_one_bundle_each_commit_their_own_records(process: Process) -> None:
    one, two = process.at(0), process.at(1)
    both = process.of_bundle()
    both.write([output(0), output(1), output(2)])
    assert (one.written, two.written) == ([0, 2], [1])
    assert both.commit() is CommitResult.FINAL
    two.result = CommitResult.BEGUN
    assert both.commit() is CommitResult.BEGUN
    one.result = CommitResult.ROLLED_BACK
    assert both.commit() is CommitResult.ROLLED_BACK
    assert (one.commits, two.commits) == (3, 3)
    assert both.keep_alive()
    assert both.give_up("no") == 6
    assert not both.keep_alive()
    assert (one.lives, two.lives) == (False, False)


def test_of_several_shards_one_that_cannot_be_committed_has_the_others_give_up(process: Process) -> None:
    """The stages drop all outcomes then. Committing another one would miss its own, and blame the graph."""
    one, two = process.at(0), process.at(1)
    both = process.of_bundle()
    assert both.keep_alive()
    assert (one.lives, two.lives) == (True, True)
    one.lives = False
    assert not both.keep_alive()
    assert not two.lives


def test_a_shard_that_is_read_after_another_was_void_is_not_committed_either(process: Process) -> None:
    process.at(0).lives = False
    late = process.at(1)
    process.of_bundle().commit()
    assert (late.lives, late.commits) == (False, 1)


def test_one_shard_of_several_may_be_abandoned_alone(process: Process) -> None:
    one, two = process.at(0), process.at(1)
    process.sessions.abandon(CONFIG, SessionKey(CONFIG, 0, 2))
    assert (one.discarded, two.discarded) == (True, False)
    process.of_bundle().write([output(1)])
    assert two.written == [1]


def test_where_shards_move_a_fence_ends_the_bundle_and_not_the_job(process: Process) -> None:
    """The commit is a rollback: the runner keeps nothing of the bundle but its timer. The next one opens another session."""
    sessions, key = process.sessions, SessionKey(MOVING, 0, 2)
    session: Any = sessions.enter(key)
    bundle = sessions.of_bundle(MOVING)
    bundle.write([output(0)])
    session.fenced = True
    assert bundle.commit() is CommitResult.ROLLED_BACK
    sessions.leave(MOVING)
    assert session.discarded
    assert sessions.wait_s(key) > 0
    assert sessions.enter(key) is not session


def test_where_shards_move_a_fence_while_writing_fails_the_bundle_and_is_noted(process: Process) -> None:
    sessions, key = process.sessions, SessionKey(MOVING, 0, 2)
    session: Any = sessions.enter(key)
    session.fenced = True
    with pytest.raises(FencedError):
        sessions.of_bundle(MOVING).write([output(0)])
    assert sessions.wait_s(key) > 0


def test_where_shards_stay_a_fence_is_an_error(process: Process) -> None:
    """Flink starts the job again."""
    session = process.at(0)
    session.fenced = True
    with pytest.raises(FencedError):
        process.of_bundle().commit()


def test_where_shards_move_a_bundle_that_read_nothing_opens_nothing(process: Process) -> None:
    """It brought the element of a shard. Outputs in it would be of another bundle's records: the stage was split."""
    bundle = process.sessions.of_bundle(MOVING)
    bundle.write([])
    assert bundle.commit() is CommitResult.FINAL
    assert bundle.keep_alive()
    assert bundle.give_up("no") == 0
    assert not process.sessions._entries
    with pytest.raises(KafkaError, match="GroupByKey"):
        bundle.write([output(0)])


def test_where_shards_move_the_last_session_is_closed_too(process: Process) -> None:
    """Nothing enters here any more when all shards have moved on; also the only shard of a job may."""
    sessions = process.sessions
    gone: Any = sessions.enter(SessionKey(MOVING, 0, 1))
    sessions.leave(MOVING)
    sessions.close_idle()
    assert not gone.discarded
    process.now += IDLE_S + 0.01
    sessions.close_idle()
    assert gone.discarded
