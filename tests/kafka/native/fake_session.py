"""``FakeSession``: as much of a session as ``Polling`` sees; for the tests of this folder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.bundle import NOTHING_CARRIED, Bundle
from transforms.kafka.native.commits import Commit, Commits, at_once
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.session import Session
from transforms.kafka.stop import StopConditions
from transforms.types import KafkaRecord

A, B = ("in", 0), ("in", 1)


class FakeSession:
    """As much of a session as ``Polling`` sees. ``available``: what each poll finds, then nothing."""

    def __init__(self, *available: int):
        self.available = list(available)
        self.polls: list[tuple[int, float, bool]] = []
        self.nothing: list[float] = []
        self.reader = SimpleNamespace(
            owned={A, B},
            group_has_committed=self._group_has_committed,
            identities={},
            end_offsets=lambda topic: self.ends,
        )
        self.commits = Commits()
        self.group: dict[Partition, int] = {}
        self.asked_group = 0
        self.ends: dict[Partition, int] | None = None
        self.beyond: list[KafkaRecord] = []
        self.now = 50.0
        self.poll_takes_s = 0.001
        self.output_bytes = 0
        self.value_bytes = 0
        self.inherited = NOTHING_CARRIED
        self.left_more = 0
        self._offset = 0

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        self.polls.append((most, timeout_s, fill))
        self.now += self.poll_takes_s
        count = min(most, self.available.pop(0) if self.available else 0)
        first, self._offset = self._offset, self._offset + count
        return [KafkaRecord("in", 0, offset, 0, None, bytes(self.value_bytes), []) for offset in range(first, first + count)]

    def poll_nothing(self, wait_s: float) -> None:
        self.nothing.append(wait_s)

    def leave_more(self) -> None:
        self.left_more += 1

    def commit(self, count: int) -> None:
        self.commits.final(Commit(Bundle(read=count), {}, at_once(lambda: 0.0)))

    def finish_commit(self) -> bool:
        return True

    def drop(self, beyond: list[KafkaRecord]) -> None:
        self.beyond += beyond

    def has_read_beyond(self, end_of: object) -> bool:
        return True  # the real one only spares the looking: test_session.py

    def _group_has_committed(self, ends: dict[Partition, int]) -> bool:
        self.asked_group += 1
        return all(self.group.get(partition, -1) >= end for partition, end in ends.items())


def make(kafka: FakeSession, stop: StopConditions | None = None, **options: Any) -> Polling:
    config = KafkaConfig("m", ("in",), "g", **options)
    return Polling(config, stop or StopConditions(), lambda: kafka.now)


def read(polling: Polling, kafka: FakeSession) -> list[int]:
    """One bundle; the sizes of its chunks."""
    return [len(chunk) for chunk in polling.chunks(cast(Session, kafka))]


def finished(polling: Polling, kafka: FakeSession) -> bool:
    return polling.finished(cast(Session, kafka))
