"""Event time: the timestamps of elements, and the watermark of what was read."""

from __future__ import annotations

import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from transforms.kafka.native.watermark import IDLE_S, Timestamped, Watermark, event_time
from transforms.types import KafkaRecord

A, B = ("in", 0), ("in", 1)


def record(partition: int, offset: int, timestamp_s: float | None) -> KafkaRecord:
    timestamp_ms = None if timestamp_s is None else round(timestamp_s * 1000)
    return KafkaRecord("in", partition, offset, timestamp_ms, None, None, [])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (1500, Timestamp(1.5)),
        (0, Timestamp(0)),
        (-1500, Timestamp(-1.5)),
        (None, Timestamp(1000)),
        (2**63 - 1, GlobalWindow().max_timestamp()),
        (-(2**63), MIN_TIMESTAMP),
    ],
)
def test_an_element_has_the_time_of_its_record(timestamp_ms: int | None, expected: Timestamp) -> None:
    assert event_time(KafkaRecord("in", 0, 0, timestamp_ms, None, None, []), Clock()) == expected


def test_the_records_of_a_chunk_stay_in_order() -> None:
    chunk = [record(0, 0, 5.0), record(0, 1, 3.0)]
    found = list(Timestamped().process(chunk))
    assert [(it.value, it.timestamp) for it in found] == [(chunk[0], Timestamp(5)), (chunk[1], Timestamp(3))]


def test_it_is_the_lowest_of_the_newest_of_each_partition() -> None:
    watermark = Watermark(Clock())
    watermark.note([record(0, 0, 50.0), record(0, 1, 40.0), record(1, 0, 20.0)])
    assert watermark.current({A, B}, {}) == 20.0
    watermark.note([record(1, 1, 60.0)])
    assert watermark.current({A, B}, {}) == 50.0


def test_a_partition_of_which_nothing_is_known_holds_it() -> None:
    watermark = Watermark(Clock())
    watermark.note([record(0, 0, 50.0)])
    assert watermark.current({A, B}, {}) is None
    assert watermark.current({A, B}, {B: 7}) == 50.0, "it was read to its end: nothing is there"
    assert watermark.current(set(), {}) == 50.0


def test_a_partition_that_was_read_to_its_end_does_not_hold_it() -> None:
    clock = Clock()
    watermark = Watermark(clock)
    watermark.note([record(0, 4, 50.0), record(1, 4, 999.5)])
    assert watermark.current({A, B}, {B: 5}) == 50.0, "more is to be read of A"
    assert watermark.current({A, B}, {A: 5, B: 5}) == 1000.0 - IDLE_S
    clock.now += 60
    assert watermark.current({A, B}, {A: 5, B: 5}) == 1060.0 - IDLE_S
    watermark.note([record(0, 5, 60.0)])
    assert watermark.current({A, B}, {A: 5, B: 5}) == 1060.0 - IDLE_S, "it never goes back; that record is late"


def test_it_is_never_later_than_now() -> None:
    watermark = Watermark(Clock())
    watermark.note([record(0, 0, 5000.0)])
    assert watermark.current({A}, {}) == 1000.0


def test_a_record_without_a_time_counts_as_of_now() -> None:
    watermark = Watermark(Clock())
    watermark.note([record(0, 0, None)])
    assert watermark.current({A}, {}) == 1000.0


def test_a_partition_that_was_taken_away_is_forgotten() -> None:
    watermark = Watermark(Clock())
    watermark.note([record(0, 0, 50.0), record(1, 0, 20.0)])
    assert watermark.current({A}, {}) == 50.0
    assert watermark.current({A, B}, {}) == 50.0, "nothing is known of it when it comes back"
    watermark.note([record(0, 1, 70.0), record(1, 0, 20.0)])
    assert watermark.current({A, B}, {}) == 50.0
