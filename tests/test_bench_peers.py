"""The arithmetic of the benchmark of peers, and what it judges by."""

from __future__ import annotations

import subprocess
import sys

from bench.peers import outputs, programs, report
from bench.peers.__main__ import records_of
from bench.peers.disturbance import own_s
from bench.peers.measure import Backlog, Steady

_SETTINGS = {"records": 1000, "width": 16, "runs": 2, "most_s": 15.0}


def _runs(*rates: float, faults: str = "") -> list[Backlog]:
    return [Backlog(rate, 1000, faults, 20.0, 0.02) for rate in rates]


def test_keys_follow_zipfs_law_and_the_records_are_the_same_each_time() -> None:
    records = records_of(20_000, 3)
    counts = [sum(1 for key, _ in records if key == b"%05d" % rank) for rank in range(2)]
    assert 1.7 < counts[0] / counts[1] < 2.3
    assert records == records_of(20_000, 3)


def test_outputs_are_judged_by_key() -> None:
    expected = outputs.expected_of([(b"a", b'{"x":[1,2]}'), (b"b", b'{"x":[5]}'), (b"a", b'{"x":[4]}')])
    assert expected == {b"a": [3.0, 4.0], b"b": [5.0]}
    assert outputs.compare(expected, {b"a": [3.0, 4.0], b"b": [5.0]}, True) == (0, True)
    assert outputs.compare(expected, {b"a": [3.0]}, True) == (0, True), "not all, but those are right"
    assert outputs.compare(expected, {b"a": [4.0, 3.0]}, True) == (0, False)
    assert outputs.compare(expected, {b"a": [4.0, 3.0]}, False) == (0, True)
    assert outputs.compare(expected, {b"a": [4.0, 4.0]}, False) == (0, False)
    assert outputs.compare(expected, {b"b": [5.0, 5.0]}, True) == (1, True)
    assert outputs.compare(expected, {b"c": [1.0]}, True) == (1, True), "a key that no record has"


def test_ratios_are_of_the_same_turn() -> None:
    """Not of the medians: a machine that slows down in the second turn slows both sides."""
    assert report.ratios(_runs(100, 50), _runs(50, 25)) == [2.0, 2.0]


def test_the_page_names_targets_that_are_missed() -> None:
    ours, hand = programs.OURS.name, programs.HANDWRITTEN
    ordered, unordered = "Confluent parallel consumer, KEY", "Confluent parallel consumer, UNORDERED"
    found = {
        ours: _runs(90, 100),
        hand: _runs(100, 100),
        ordered: _runs(40, 40, faults="3 records lost"),
        unordered: _runs(80, 80),
    }
    text = report.page("c", _SETTINGS, {"cores": 2}, programs.PROGRAMS, {0.0: found}, {ours: [Steady(5, 20, 0.0)]})
    assert f"Target: 1.00 × {hand}. Measured: 0.95, **missed**." in text
    assert f"Target: 1.50 × {ordered}. Measured: 2.38, reached." in text, "the fastest that keeps the order"
    assert "3 records lost" in text
    assert f"| {ours} | exactly once | 5.0 (5.0, 5.0) | 20.0 (20.0, 20.0) | 0% |" in text
    assert "Kafka Streams, blocking calls |" not in text, "a side that did not run"


def test_the_time_of_children_is_not_that_of_others() -> None:
    """Of one that runs, and when it has ended: else each peer would look like a disturbance."""
    before = own_s()
    burn = "import time; [0 for _ in iter(lambda: time.process_time() < 0.3, False)]; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = own_s() - before
        child.communicate(b"\n")
    assert running >= 0.25
    assert own_s() - before >= running - 0.05


def test_each_side_has_a_name_of_its_own_and_one_of_ours_to_be_compared_with() -> None:
    names = [program.name for program in programs.PROGRAMS]
    assert len(set(names)) == len(names)
    assert {programs.reference_of(program).name for program in programs.PROGRAMS} == {"this pipeline", "this pipeline, REST"}
