"""The rate limit, and what is tallied for people."""

from __future__ import annotations

import pytest

from pipeline.dead_letter_tools.pace import ReplayRate
from pipeline.dead_letter_tools.tally import MAX_BARS, Tally
from tests.pipeline.dead_letter_tools.test_selecting import T, stored
from transforms.kafka.dead_letters.letter import Letter, read_letter


class Clock:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("rate", [1, 7, 100, 5_000])
def test_no_more_a_second_than_asked_for(rate: int) -> None:
    clock = Clock()
    pace = ReplayRate(rate, lambda: False, lambda: clock.now, clock.sleep)
    done = 0
    while done < 3 * rate:
        part = pace.part(500)
        pace.wait(part)
        done += part
        assert done <= rate * (clock.now + 0.2) + 1, "a part is what a fifth of a second takes"
    assert clock.now == pytest.approx(3, abs=1), "and hardly less"


def test_without_a_rate_nothing_waits_and_a_drain_ends_a_wait() -> None:
    clock = Clock()
    free = ReplayRate(None, lambda: False, lambda: clock.now, clock.sleep)
    assert free.part(500) == 500
    free.wait(500)
    slow = ReplayRate(1, lambda: clock.now > 5, lambda: clock.now, clock.sleep)
    slow.wait(100)
    slow.wait(1)
    assert 5 < clock.now < 6


def letter(offset: int, **of: object) -> Letter:
    found = read_letter(stored(offset, **of))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_samples_are_of_every_class() -> None:
    """The rare class is the one that people look for."""
    tally = Tally(3)
    for offset in range(10):
        tally.add(letter(offset), replayed=offset < 4)
    tally.add(letter(99, error_class="FieldError"))
    assert [found.record.offset for found in tally.samples()] == [0, 99, 1]
    assert (tally.letters, tally.replayed, tally.topics) == (11, 4, {"in": 11})
    row = tally.rows["decode", "JsonError"]
    assert (row.letters, row.replayed, row.first_ms, row.last_ms) == (10, 4, T, T)


@pytest.mark.parametrize(
    "minutes", [[0], [0, 1, 2], list(range(0, 10_000, 7)), [0, 600_000], list(range(0, 20_000_000, 10_000))]
)
def test_bars_fit_on_a_screen_and_count_everything(minutes: list[int]) -> None:
    tally = Tally(0)
    for minute in minutes:
        tally.add(letter(minute, timestamp_ms=T + minute * 60_000))
    bars = tally.bars()
    assert len(bars) <= MAX_BARS
    assert sum(count for _, count in bars) == len(minutes)
    assert bars == sorted(bars)


def test_records_without_a_time_are_in_no_bar() -> None:
    tally = Tally(0)
    tally.add(letter(0, timestamp_ms=None))
    assert tally.bars() == []
    assert tally.rows["decode", "JsonError"].first_ms is None
