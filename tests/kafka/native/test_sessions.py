"""Which session a bundle finds: by its thread, one a shard, and a new one beside a bundle that the engine has given up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native import sessions
from transforms.kafka.native.sessions import Place, abandon, bundle_session, enter, leave
from transforms.types import OutputRecord

CONFIG = KafkaConfig("memory:9092", ("in",), "group", "shard", assignment="static")
_T = TypeVar("_T")


class FakeSession:
    """Remembers what it was told."""

    def __init__(self, config: KafkaConfig, shard: int = 0, shards: int = 1, *, claim: bool = False):
        self.config, self.shard, self.shards = config, shard, shards
        self.written: list[int] = []
        self.commits = 0
        self.discarded = False
        self.lives = True

    def write(self, records: list[OutputRecord]) -> None:
        self.written += [record.source[1] for record in records]

    def commit(self) -> bool:
        self.commits += 1
        return True

    def keep_alive(self) -> bool:
        return self.lives

    def give_up(self, reason: str) -> None:
        self.lives = False

    def discard(self) -> None:
        self.discarded = True


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sessions, "Session", FakeSession)
    monkeypatch.setattr(sessions, "_held", {})
    yield
    abandon(CONFIG)


def elsewhere(call: Callable[[], _T]) -> _T:
    """Calls it in another thread."""
    found: list[_T] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def at(shard: int, shards: int = 2) -> Any:
    return enter(Place(CONFIG, shard, shards))


def output(partition: int) -> OutputRecord:
    return OutputRecord("out", None, b"", [], None, ("in", partition, 0), None)


def test_without_shards_the_process_has_one_session() -> None:
    assert bundle_session(CONFIG) is elsewhere(lambda: bundle_session(CONFIG))


def test_each_shard_has_a_session_with_a_name_of_its_own() -> None:
    """Threads at work at the same time do not meet, and the transactional ids differ."""
    mine: Any = at(0)
    other: Any = elsewhere(lambda: at(1))
    assert bundle_session(CONFIG) == mine
    assert (mine.shard, other.shard, mine.shards) == (0, 1, 2)
    assert (mine.config.transactional_id, other.config.transactional_id) == ("group-shard-0", "group-shard-1")


def test_the_next_bundle_of_a_shard_finds_it_again_in_whatever_thread() -> None:
    first = at(0)
    leave(CONFIG)
    assert elsewhere(lambda: at(0)) is first
    assert not first.discarded


def test_a_bundle_given_up_by_the_engine_keeps_its_session_and_the_newer_one_has_another() -> None:
    """The newer producer fences the older one; the older bundle's end must not touch what the newer one uses."""
    old = at(0)
    new: Any = elsewhere(lambda: at(0))
    assert new is not old
    assert bundle_session(CONFIG) == old
    abandon(CONFIG)
    assert old.discarded
    assert not new.discarded
    assert sessions._held[Place(CONFIG, 0, 2)].session is new


def test_after_a_failed_bundle_there_is_a_new_session() -> None:
    first = at(0)
    abandon(CONFIG)
    assert first.discarded
    assert at(0) is not first


def test_a_long_bundle_does_not_make_its_session_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle is what no bundle has used since: not what one has used for long."""
    now = 0.0
    monkeypatch.setattr("transforms.kafka.native.sessions.time.monotonic", lambda: now)
    slow = at(0)
    now = sessions.IDLE_S + 40
    leave(CONFIG)
    now += 0.01
    at(1)
    assert not slow.discarded


def test_a_shard_that_went_elsewhere_is_closed_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its consumer would hold records in memory for nothing."""
    gone = at(1)
    leave(CONFIG)
    at(0)
    assert not gone.discarded
    leave(CONFIG)
    monkeypatch.setattr(sessions, "IDLE_S", 0.0)
    at(0)
    assert gone.discarded


def test_several_shards_in_one_bundle_each_commit_their_own_records() -> None:
    one, two = at(0), at(1)
    both = bundle_session(CONFIG)
    both.write([output(0), output(1), output(2)])
    assert (one.written, two.written) == ([0, 2], [1])
    assert both.commit()
    assert (one.commits, two.commits) == (1, 1)
    assert both.keep_alive()
    both.give_up("no")
    assert not both.keep_alive()
    assert (one.lives, two.lives) == (False, False)
