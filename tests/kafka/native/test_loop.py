"""The loop of a shard: what it reads, that it goes on, that it stops, and what becomes of a failed bundle's session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.native.fake_session import FakeSession
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.loop import WAKE_S, EmitShardKeys, PollShards
from transforms.kafka.native.polls import PollTracker
from transforms.kafka.native.sessions import SessionKey
from transforms.kafka.native.shards import Shards
from transforms.kafka.native.sinks import note_sink
from transforms.kafka.stop import StopConditions, request_drain

pytestmark = pytest.mark.usefixtures("not_draining")

CONFIG = KafkaConfig("m", ("in",), "g", "shard", assignment="static")
SHARDS = Shards(2, 128)


class Timer:
    def __init__(self) -> None:
        self.sets = 0

    def set(self, at: object) -> None:
        self.sets += 1


class BegunSession(FakeSession):
    begun = 0

    def begin(self) -> None:
        self.begun += 1


class Sessions(dict[SessionKey, BegunSession]):
    """Those that the loop has entered and not given up."""

    def enter(self, key: SessionKey) -> Any:
        return self.setdefault(key, BegunSession(*[3] * 5))

    def abandon(self, config: KafkaConfig) -> None:
        self.clear()


def poll(source: PollShards, key: int, timer: Timer) -> list[int]:
    return [len(chunk) for chunk in source.poll(key, timer)]


def made(sessions: Sessions, stop: StopConditions | None = None) -> PollShards:
    source = PollShards(CONFIG, stop or StopConditions(), SHARDS, None, sessions.enter, sessions.abandon)
    source.setup()
    note_sink(CONFIG)
    return source


def test_each_key_reads_its_own_shard_and_sets_its_timer_anew() -> None:
    sessions, timer = Sessions(), Timer()
    source = made(sessions)
    for index, key in enumerate(SHARDS.keys()):
        source.process((key, index), timer)
        assert poll(source, key, timer) == [3]
    assert timer.sets == 4
    assert list(sessions) == [SessionKey(CONFIG, 0, 2), SessionKey(CONFIG, 1, 2)]
    assert [session.begun for session in sessions.values()] == [1, 1]


def test_a_drained_shard_reads_no_more_and_sets_no_timer() -> None:
    timer = Timer()
    source = made(Sessions())
    request_drain()
    assert poll(source, SHARDS.keys()[0], timer) == []
    assert timer.sets == 0


def test_a_shard_does_not_end_at_its_ends() -> None:
    """The job is ended from outside. Until then a topic may be made again, and has to be read from its start."""
    timer = Timer()
    source = made(Sessions(), StopConditions(end_offsets=((("in", 0), 0),)))
    assert poll(source, SHARDS.keys()[0], timer) == []
    assert timer.sets == 1


def test_a_failed_bundle_gives_its_sessions_up() -> None:
    sessions = Sessions()
    source = made(sessions)
    poll(source, SHARDS.keys()[0], Timer())
    source.teardown()
    assert not sessions


def test_a_worker_is_prepared_before_it_reads() -> None:
    calls: list[str] = []
    source = PollShards(CONFIG, StopConditions(), SHARDS, lambda: calls.append("prepared"))
    assert not calls
    source.setup()
    assert calls == ["prepared"]


class Deferring(PollTracker):
    delays: Any = None

    def defer_remainder(self, delay: Any = None) -> None:
        self.delays = delay


def test_shards_are_placed_once_and_the_source_never_ends() -> None:
    source = EmitShardKeys(SHARDS.keys())
    first = Deferring(0)
    assert list(source.process(0, first)) == [(key, index) for index, key in enumerate(SHARDS.keys())]
    later = Deferring(first.current_restriction())
    assert list(source.process(0, later)) == []
    assert first.delays == later.delays == WAKE_S
