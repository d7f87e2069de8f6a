"""Single records are read again without a wait, wherever they are in their topic."""

from __future__ import annotations

from collections import deque
from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_kafka import Message
from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.originals import AT_ONCE, Originals, Source
from transforms.types import KafkaRecord

CONFIG = KafkaConfig("h:1", ("in",), "g")


class Log:
    """A consumer of partitions that have records at some offsets; it waits as librdkafka does: until it has all asked for.

    Attributes:
        waited_s: How long, in all.
        read: How many records were handed over.
    """

    def __init__(self, offsets: dict[Partition, range], gaps: frozenset[int] = frozenset()):
        self._offsets, self._gaps = offsets, gaps
        self._queue: deque[Message] = deque()
        self._paused: set[Partition] = set()
        self._assigned: list[Any] = []
        self.waited_s, self.read, self.closed = 0.0, 0, False

    def assign(self, starts: list[Any]) -> None:
        self._assigned = starts
        self._fetch(starts)

    def _fetch(self, starts: list[Any]) -> None:
        for start in starts:
            if (start.topic, start.partition) in self._paused:
                continue
            offsets = self._offsets[start.topic, start.partition]
            ahead = [at for at in offsets if at >= start.offset and at not in self._gaps]
            self._queue += [Message(KafkaRecord(start.topic, start.partition, at, 1, None, b"%d" % at, [])) for at in ahead]
            end = KafkaRecord(start.topic, start.partition, offsets.stop, None, None, None, [])
            self._queue.append(Message(end, ck.KafkaError._PARTITION_EOF))

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        found = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
        self.waited_s += timeout_s if len(found) < count else 0.0
        self.read += len(found)
        return found

    def pause(self, partitions: list[Any]) -> None:
        """Drops what was fetched of them, as librdkafka does."""
        self._paused |= {(it.topic, it.partition) for it in partitions}
        self._queue = deque(it for it in self._queue if (it.topic(), it.partition()) not in self._paused)

    def resume(self, partitions: list[Any]) -> None:
        resumed = {(it.topic, it.partition) for it in partitions} & self._paused
        self._paused -= resumed
        self._fetch([it for it in self._assigned if (it.topic, it.partition) in resumed])

    def unassign(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        self.closed = True


def read(log: Log, *wanted: Source) -> dict[Source, KafkaRecord]:
    return Originals(CONFIG, lambda _: log).read(wanted)


@pytest.mark.parametrize("at", [0, 4_000, 9_999])
def test_one_record_is_one_record_without_a_wait(at: int) -> None:
    """At the end of the topic it was a tenth of a second for each: consume() waited for 500 records."""
    log = Log({("in", 0): range(10_000)})
    assert read(log, ("in", 0, at))["in", 0, at].value == b"%d" % at
    assert (log.waited_s, log.read) == (0, 1)


def test_several_partitions_to_their_ends() -> None:
    log = Log({("in", 0): range(100), ("in", 1): range(50, 60)})
    wanted = [("in", 0, 97), ("in", 0, 99), ("in", 1, 55), ("in", 1, 59)]
    assert set(read(log, *wanted)) == set(wanted)
    assert log.waited_s == 0


def test_a_partition_that_is_finished_keeps_no_other_waiting() -> None:
    """Its records behind the last one that is wanted are not looked through."""
    log = Log({("in", 0): range(100_000), ("in", 1): range(10)})
    wanted = [("in", 0, 3), ("in", 1, 2)]
    assert set(read(log, *wanted)) == set(wanted)
    assert log.read <= 4


def test_they_are_read_again_in_the_next_call() -> None:
    log = Log({("in", 0): range(9), ("in", 1): range(9)})
    originals = Originals(CONFIG, lambda _: log)
    for wanted in ([("in", 0, 3), ("in", 1, 2)], [("in", 0, 5), ("in", 1, 7)]):
        assert set(originals.read(wanted)) == set(wanted)


def test_more_than_are_asked_for_at_a_time() -> None:
    log = Log({("in", 0): range(10 * AT_ONCE)})
    wanted = [("in", 0, at) for at in range(100, 3 * AT_ONCE, 100)]
    assert set(read(log, *wanted)) == set(wanted)
    assert log.waited_s == 0


def test_what_is_gone_is_left_out() -> None:
    """Compaction leaves gaps, which nobody counts beforehand: there it waits, once and not for ever."""
    log = Log({("in", 0): range(20)}, gaps=frozenset({5, 19}))
    assert set(read(log, ("in", 0, 4), ("in", 0, 5), ("in", 0, 19))) == {("in", 0, 4)}
    assert log.waited_s <= 0.1


def test_a_topic_that_does_not_answer_is_an_error() -> None:
    class Silent(Log):
        def consume(self, count: int, timeout_s: float) -> list[Message]:
            return []

    with pytest.raises(KafkaError, match="records were not answered"):
        Originals(CONFIG, lambda _: Silent({("in", 0): range(1)}), timeout_s=0).read([("in", 0, 0)])
