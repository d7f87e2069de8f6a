"""The gate behind Java's source: what goes through, what is still on its way, and up to where offsets may be committed."""

from __future__ import annotations

import pytest

from transforms.kafka.beam.gate import Gate, Passed, open_gate
from transforms.kafka.stop import StopConditions, request_drain
from transforms.types import KafkaRecord

pytestmark = pytest.mark.usefixtures("not_draining")


def record(offset: int, partition: int = 0) -> KafkaRecord:
    return KafkaRecord("in", partition, offset, 0, None, b"", [])


def test_offsets_follow_what_is_written_without_gaps() -> None:
    """An output that comes early moves nothing until all before it are there."""
    times = iter([1.0, 2.0, 3.0, 10.0, 11.0])
    gate = Passed(StopConditions(), clock=lambda: next(times))
    assert all(gate.admit(record(offset)) for offset in (5, 6, 9))
    assert (gate.in_flight, gate.positions()) == (3, {("in", 0): 5})
    assert gate.written("in", 0, 6) == 8.0
    assert gate.positions() == {("in", 0): 5}
    assert gate.written("in", 0, 5) == 10.0
    assert (gate.in_flight, gate.positions()) == (1, {("in", 0): 9})


def test_what_is_not_ours_or_came_twice_counts_for_nothing() -> None:
    gate = Passed(StopConditions())
    gate.admit(record(5))
    assert gate.written("in", 1, 5) is None
    assert gate.written("other", 0, 5) is None
    assert gate.written("in", 0, 5) is not None
    assert gate.written("in", 0, 5) is None, "written twice, as at least once may"
    assert gate.positions() == {("in", 0): 6}


def test_max_records() -> None:
    gate = open_gate(StopConditions(max_records=2))
    passed = [one for offset in range(4) for one in Gate().process(record(offset))]
    assert [one.offset for one in passed] == [0, 1]
    assert gate.is_complete()
    assert gate.positions() == {("in", 0): 0}, "neither is written yet"


def test_until_the_end_of_each_partition() -> None:
    """Beyond the end nothing goes through; partitions that are not named, or were read before, are waited for by nobody."""
    ends = ((("in", 0), 2), (("in", 1), 1))
    gate = Passed(StopConditions(end_offsets=ends, pending=(("in", 0),)))
    assert [gate.admit(record(offset)) for offset in range(3)] == [True, True, False]
    assert not gate.admit(record(0, partition=2))
    assert gate.is_complete()


def test_the_end_of_a_partition_may_hold_no_record() -> None:
    """Transaction markers, or what compaction left: whoever looks says so."""
    gate = Passed(StopConditions(end_offsets=((("in", 0), 3),), pending=(("in", 0),)))
    gate.admit(record(0))
    assert gate.missing() == {("in", 0): (1, 3)}
    assert not gate.is_complete()
    gate.skip_to(("in", 0), 3)
    assert gate.is_complete()
    gate.written("in", 0, 0)
    assert gate.positions() == {("in", 0): 3}


def test_draining_closes_it() -> None:
    gate = Passed(StopConditions())
    assert gate.admit(record(0))
    request_drain()
    assert not gate.admit(record(1))
    assert gate.is_complete()
    assert gate.positions() == {("in", 0): 0}, "what was held back is read again"
