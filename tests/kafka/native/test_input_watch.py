"""How often the topics are looked at: seldom where nothing is read, and where they have many partitions."""

from __future__ import annotations

from typing import Any, cast

from tests.kafka.native.memory_job import A
from transforms.kafka.native.input_watch import IDLE_LOOK_S, LOOK_S, PARTITION_LOOK_S, InputWatch
from transforms.kafka.topic_ids import TopicIds


class Counted:
    """Topics that are always there, and how often they were asked for."""

    are_there = True

    def __init__(self, partitions: int = 1) -> None:
        self.asked, self.partitions = 0, partitions

    def ask(self) -> Any:
        self.asked += 1
        return self

    is_answered = True

    def answer(self, timeout_s: float = 0.0) -> dict[str, str]:
        return {"in": "a@c"}


class Watched:
    """A reader's watch, and how often it asks."""

    def __init__(self, partitions: int = 1) -> None:
        self.now, self.ids = 0.0, Counted(partitions)
        self.watch = InputWatch(cast(TopicIds, self.ids), lambda: self.now)
        self.reading = {("in", number): "a@c" for number in range(partitions)}

    def look_for(self, seconds: float, *, reads: bool) -> int:
        before, stop_at = self.ids.asked, self.now + seconds
        while self.now < stop_at:
            self.now += 0.02
            if reads:
                self.watch.note_read()
            assert self.watch.look(self.reading) is None
            if reads:
                assert self.watch.confirm(self.reading) is None
        return self.ids.asked - before


def test_an_idle_reader_seldom_asks_and_what_it_reads_next_is_confirmed() -> None:
    it = Watched()
    busy, _, idle = it.look_for(5, reads=True), it.look_for(IDLE_LOOK_S, reads=False), it.look_for(5, reads=False)
    assert busy > 5 / LOOK_S / 2
    assert idle <= 5 / IDLE_LOOK_S
    asked = it.ids.asked
    it.now += 0.5
    it.watch.note_read()
    assert it.watch.confirm({A: "a@c"}) is None
    assert it.ids.asked > asked, "the last answer is older than the record"


def test_a_topic_of_many_partitions_is_seldom_asked_for() -> None:
    """An answer costs so much for each partition; whether the commits of a busy reader want it or not."""
    it = Watched(1_000)
    it.look_for(1, reads=True)
    most = 60 / (1_000 * PARTITION_LOOK_S)
    assert most / 2 < it.look_for(60, reads=True) <= most
    assert it.look_for(60, reads=False) <= most
