"""The loop of a shard that moves: it waits when it was fenced, ends with a drain or without a shard, and comes again."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.transforms.window import GlobalWindow

from tests.kafka.native.test_loop import BegunSession, Deferring
from transforms.errors import FencedError, KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.moving_loop import LAP_S, EmitMovingShards, PollMovingShards, ProcessSessions
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.sessions import SessionKey
from transforms.kafka.native.shards import MovingShards, Shards
from transforms.kafka.native.sinks import note_sink
from transforms.kafka.native.source import ReadFromKafka
from transforms.kafka.stop import StopConditions, request_drain

pytestmark = pytest.mark.usefixtures("not_draining")

CONFIG = KafkaConfig("m", ("in",), "g", "shard", assignment="static", shards_move=True)


class Timer:
    def __init__(self) -> None:
        self.at: list[Any] = []
        self.cleared = 0

    def set(self, at: object) -> None:
        self.at.append(at)

    def clear(self) -> None:
        self.cleared += 1


class Flag:
    """State that Beam keeps for a key."""

    def __init__(self) -> None:
        self.value: bool | None = None

    def read(self) -> bool | None:
        return self.value

    def write(self, value: bool) -> None:
        self.value = value


class FencedSession(BegunSession):
    fails_after = 0

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> Any:
        if self.fails_after == 0:
            raise FencedError("fenced")
        self.fails_after -= 1
        return super().poll(most, timeout_s, fill=fill)


class Sessions(ProcessSessions):
    """Those that the loop has entered and not given up."""

    def __init__(self, *sessions: BegunSession) -> None:
        self.there = list(sessions)
        self.entered: dict[SessionKey, BegunSession] = {}
        self.fences: list[SessionKey] = []
        self.wait = 0.0

    def enter(self, key: SessionKey) -> Any:
        return self.entered.setdefault(key, self.there.pop(0) if self.there else BegunSession(*[3] * 5))

    def abandon(self, config: KafkaConfig, only: SessionKey | None = None) -> None:
        for key in [*self.entered] if only is None else [only]:
            self.entered.pop(key, None)

    def fenced(self, key: SessionKey) -> None:
        self.fences.append(key)

    def wait_s(self, key: SessionKey) -> float:
        return self.wait


def made(sessions: Sessions, shards: int = 2) -> PollMovingShards:
    source = PollMovingShards(CONFIG, StopConditions(), shards, None, sessions)
    source.setup()
    note_sink(CONFIG)
    return source


def poll(source: PollMovingShards, key: int, timer: Timer, drained: Flag | None = None) -> list[int]:
    return [len(chunk) for chunk in source.poll(key, timer, drained or Flag())]


def test_each_key_reads_its_own_shard_and_sets_its_timer_anew() -> None:
    sessions, timer = Sessions(), Timer()
    source = made(sessions)
    assert [poll(source, key, timer) for key in (0, 1)] == [[3], [3]]
    assert len(timer.at) == 2
    assert list(sessions.entered) == [SessionKey(CONFIG, 0, 2), SessionKey(CONFIG, 1, 2)]


def test_a_fence_before_anything_was_read_ends_no_bundle_in_an_error() -> None:
    sessions, timer = Sessions(FencedSession(3)), Timer()
    source = made(sessions)
    assert poll(source, 0, timer) == []
    assert sessions.fences == [SessionKey(CONFIG, 0, 2)]
    assert not sessions.entered, "the next bundle opens another"
    assert len(timer.at) == 1
    assert poll(source, 0, timer) == [3]


def test_a_fence_leaves_the_other_shards_of_the_bundle_alone() -> None:
    """What they have emitted is still to be written, each by its own session."""
    sessions, timer = Sessions(BegunSession(3), FencedSession(3)), Timer()
    source = made(sessions)
    assert [poll(source, key, timer) for key in (0, 1)] == [[3], []]
    assert list(sessions.entered) == [SessionKey(CONFIG, 0, 2)]


def test_a_fence_in_the_middle_fails_the_bundle_and_is_noted() -> None:
    """What was emitted can't be taken back: the runner begins the bundle again."""
    session = FencedSession(*[2048] * 3)
    session.fails_after = 1
    sessions = Sessions(session)
    chunks = made(sessions).poll(0, Timer(), Flag())
    assert next(chunks)
    with pytest.raises(FencedError):
        list(chunks)
    assert sessions.fences == [SessionKey(CONFIG, 0, 2)]


def test_who_was_fenced_opens_nothing_before_its_wait_is_over() -> None:
    sessions, timer = Sessions(), Timer()
    source = made(sessions)
    sessions.wait = 7.0
    assert poll(source, 0, timer) == []
    assert not sessions.entered
    assert len(timer.at) == 1
    sessions.wait = 0.0
    assert poll(source, 0, timer) == [3]


def test_any_other_error_fails_the_bundle() -> None:
    class Failing(BegunSession):
        def begin(self) -> None:
            raise KafkaError("no")

    sessions = Sessions(Failing(3))
    source = made(sessions)
    with pytest.raises(KafkaError):
        poll(source, 0, Timer())
    source.teardown()
    assert not sessions.entered
    assert not sessions.fences


def test_an_update_to_fewer_shards_ends_the_loops_of_the_others() -> None:
    sessions, timer = Sessions(), Timer()
    assert poll(made(sessions, shards=2), 2, timer) == []
    assert not timer.at
    assert not sessions.entered


def test_a_drain_ends_the_loop_also_of_a_timer_that_fires_with_it() -> None:
    sessions, timer, drain, drained = Sessions(), Timer(), Timer(), Flag()
    source = made(sessions)
    source.process((0, 2), timer, drain)
    assert drain.at == [GlobalWindow().max_timestamp()]
    source.drain(timer, drained)
    assert timer.cleared == 1
    sets = len(timer.at)
    assert poll(source, 0, timer, drained) == []
    assert len(timer.at) == sets
    assert not sessions.entered


def test_a_process_that_is_told_to_stop_reads_no_more() -> None:
    timer = Timer()
    request_drain()
    assert poll(made(Sessions()), 0, timer) == []
    assert not timer.at


def test_the_keys_come_again_so_that_an_update_may_add_some() -> None:
    first, later = Deferring(0), Deferring(5)
    assert list(EmitMovingShards(2).process(0, first)) == [(0, 2), (1, 2)]
    assert list(EmitMovingShards(3).process(0, later)) == [(0, 3), (1, 3), (2, 3)]
    assert first.delays == later.delays == LAP_S


def test_a_drain_drops_the_restriction_that_holds_the_watermark_back() -> None:
    assert Polls().truncate(0, 3) is None


@pytest.mark.parametrize("shards", [None, Shards(2, 128)])
def test_a_configuration_whose_shards_move_fits_no_other_source(shards: Shards | None) -> None:
    with pytest.raises(ValueError, match="MovingShards"):
        ReadFromKafka(config=CONFIG, shards=shards)
    with pytest.raises(ValueError, match="MovingShards"):
        ReadFromKafka(config=KafkaConfig("m", ("in",), "g"), shards=MovingShards(2))
