"""The lag while a job runs: the numbers, the time to go, and a Kafka that does not answer."""

from __future__ import annotations

import threading

import pytest

from pipeline.reporting.lag import STALE_S, WINDOW_S, Lag, LagWatch, duration
from transforms.kafka.config import Partition

A, B = ("in", 0), ("in", 1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kafka:
    """Answers what it was given, and then again the last."""

    def __init__(self, *answers: dict[Partition, int] | None):
        self._answers = list(answers)
        self.looks, self.closed = 0, False
        self.looked = threading.Event()

    def look(self, timeout_s: float = 5.0) -> dict[Partition, int] | None:
        self.looks += 1
        if self.looks == 2:
            self.looked.set()
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def close(self) -> None:
        self.closed = True


def test_time_to_go_is_that_of_the_last_half_minute() -> None:
    clock = Clock()
    watch = LagWatch(Kafka, clock)
    for records in (1000, 900, 800):
        watch.note({A: records, B: 0})
        clock.now += 10
    assert watch.latest == Lag({A: 800, B: 0}, to_go_s=80.0)
    clock.now += WINDOW_S
    watch.note({A: 700, B: 50})
    assert watch.latest == Lag({A: 700, B: 50}, to_go_s=None), "what is older does not count"


@pytest.mark.parametrize("records", [1000, 1500])
def test_there_is_no_time_to_go_while_the_lag_does_not_shrink(records: int) -> None:
    clock = Clock()
    watch = LagWatch(Kafka, clock)
    watch.note({A: 1000})
    clock.now += 10
    watch.note({A: records})
    assert watch.latest is not None
    assert (watch.latest.to_go_s, watch.latest.text) == (None, f"{records:,} to go")


def test_nothing_to_go_has_no_time() -> None:
    clock = Clock()
    watch = LagWatch(Kafka, clock)
    watch.note({A: 1000})
    clock.now += 10
    watch.note({A: 0})
    assert watch.latest is not None
    assert watch.latest.text == "0 to go"


def test_a_lag_that_is_too_old_is_not_shown() -> None:
    clock = Clock()
    watch = LagWatch(Kafka, clock)
    watch.note({A: 1})
    clock.now += STALE_S / 2
    watch.note(None)
    assert watch.latest is not None
    clock.now += STALE_S / 2
    assert watch.latest is None


def test_it_looks_once_more_at_the_end() -> None:
    kafka = Kafka({A: 2}, {A: 1}, {A: 0})
    watch = LagWatch(lambda: kafka)
    with watch.watching(interval_s=0.001):
        assert kafka.looked.wait(10)
    assert watch.latest == Lag({A: 0})
    assert kafka.closed


def test_at_the_end_an_older_lag_is_not_told() -> None:
    kafka = Kafka({A: 2}, {A: 2}, None)
    watch = LagWatch(lambda: kafka)
    with watch.watching(interval_s=0.001):
        assert kafka.looked.wait(10)
    assert watch.latest is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_durations_in_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
