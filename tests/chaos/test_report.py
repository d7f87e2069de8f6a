"""The table of the document is filled from several runs, and none of them loses what another one found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.chaos.report import BEGIN, COLUMNS, END, Run, merged, read, read_log, row, table, write
from tests.chaos.scenario import Outcome, Scenario
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.verdict import Verdict

MARKED = f"# Reliability\n\n{BEGIN}\n{END}\n\nbelow\n"
LONG = Run("long", "2026-11-27", "db64714", "2 cores (x86_64), Python 3.11.7, Apache Kafka 4.1.0", 7)
SHORT = Run("short", "2026-11-28", "abcdef0+", "8 cores (aarch64), Python 3.12.1, Apache Kafka 4.1.0", 8)
KILL = Scenario("kill", "kill -9 of the only process", lambda stream, times: None, (50, 3))
CUT = Scenario("cut", "connections cut for 20 requests", lambda stream, times: None, (20, 2))
ORDER = ["kill", "cut"]
HELD = Outcome(
    scenario=KILL,
    delivery="exactly_once",
    seed=7,
    faults=50,
    pauses=(9.0, 9.5, 12.0),
    asked_twice=0.25,
    seconds=600.4,
    verdict=Verdict(100_000, 0, 1, 2, 3, 4),
    problem="",
    said=("WARNING: rolled back (×50)", "a `quoted` word: and a colon"),
)
CELLS = ("100,000", "50", "0", "1", "2", "3", "4", "25.0%", "9.5 s (12.0 s)", "600 s")


def test_what_is_written_is_read_again() -> None:
    """Every column, what was said, and the machine of each run."""
    rows = [row(HELD, LONG), row(dataclasses.replace(HELD, scenario=CUT, said=()), SHORT)]
    assert rows[0].cells == ("**kill**: kill -9 of the only process", "exactly once", *CELLS, LONG.name)
    assert len(rows[0].cells) == len(COLUMNS)
    assert read(table(rows)) == rows


def test_a_scenario_without_a_verdict_has_all_columns() -> None:
    """It says why: that it was not run, or what it ended with; a ``|`` would be a column of its own."""
    found = row(dataclasses.replace(HELD, verdict=None, problem="not run: no a|b"), LONG)
    assert found.cells[2] == "not run: no a/b"
    assert read(table([found])) == [found]


def test_new_rows_take_the_place_of_old_ones(tmp_path: Path) -> None:
    """Of the same scenario and guarantee; the others stay, in the order of the scenarios; the text around stays, too."""
    document = tmp_path / "reliability.md"
    document.write_text(MARKED)
    cut, twice = dataclasses.replace(HELD, scenario=CUT), dataclasses.replace(HELD, delivery="at_least_once")
    for outcome in (cut, twice, HELD):  # each as soon as there is one
        write(document, [row(outcome, LONG)], ORDER)
    write(document, [row(dataclasses.replace(HELD, faults=3), SHORT)], ORDER)
    text = document.read_text()
    found = [(it.key, it.cells[3], it.run, it.machine) for it in read(text)]
    assert found == [
        (("kill", "exactly once"), "3", SHORT.name, SHORT.machine),
        (("kill", "at least once"), "50", LONG.name, LONG.machine),
        (("cut", "exactly once"), "50", LONG.name, LONG.machine),
    ]
    assert text.startswith("# Reliability\n")
    assert text.endswith("\n\nbelow\n")
    assert [it.name for it in tmp_path.iterdir()] == [document.name]


CLEAN = dataclasses.replace(HELD, verdict=Verdict(100_000, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("new", "taken"),
    [
        (CLEAN, False),
        (dataclasses.replace(CLEAN, verdict=None, problem="not run: no cc"), False),
        (dataclasses.replace(CLEAN, verdict=Verdict(10_000, 1, 0, 0, 0, 0)), True),
        (dataclasses.replace(CLEAN, verdict=None, problem="TimeoutError: no end"), True),
    ],
)
def test_a_short_run_takes_the_place_of_a_long_one_only_if_it_tells_of_a_fault(new: Outcome, taken: bool) -> None:
    old, short = row(CLEAN, LONG), row(new, SHORT)
    assert merged([old], [short], ORDER) == [short if taken else old]
    assert merged([short], [old], ORDER) == [old]


def test_a_scenario_that_is_no_more_is_left_out() -> None:
    assert merged([row(HELD, LONG)], [row(dataclasses.replace(HELD, scenario=CUT), LONG)], ["cut"]) == [
        row(dataclasses.replace(HELD, scenario=CUT), LONG)
    ]


def test_a_document_without_marks_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "other.md"
    document.write_text("nothing")
    with pytest.raises(ValueError, match="has no"):
        write(document, [row(HELD, LONG)], ORDER)


def test_a_log_is_taken() -> None:
    """What a run has printed: its setting first, its progress, the table at the end."""
    rows = [row(HELD, LONG), row(dataclasses.replace(HELD, scenario=CUT), LONG)]
    assert read_log(f"{LONG}\n[1/2] kill, exactly_once: …\n\n{table(rows)}\n") == rows
    with pytest.raises(ValueError, match="no table"):
        read_log(f"{LONG}\n[1/2] kill, exactly_once: …\n")
    with pytest.raises(ValueError, match="not what"):
        read_log(table(rows))


def test_a_log_without_a_column_of_runs_is_taken() -> None:
    """Its run is told by its first line; what was said names no guarantee, so it is taken where each row has one."""
    begin = f"{LONG}\n\n| **kill**: of kill | exactly once | {' | '.join(CELLS)} |\n"
    again = f"| **kill**: of kill | at least once | {' | '.join(CELLS)} |\n"
    one = "- **kill**: `one`\n"
    assert [(it.run, it.said) for it in read_log(f"{begin}{again}\n{one}- **kill**: `two`\n")] == [
        (LONG.name, "`one`"),
        (LONG.name, "`two`"),
    ]
    assert [it.said for it in read_log(f"{begin}{again}\n{one}")] == ["", ""]


def test_the_scenarios() -> None:
    """Their names are their rows' keys; texts make no column; the short form is shorter."""
    assert len({it.name for it in SCENARIOS}) == len(SCENARIOS)
    assert not [it.name for it in SCENARIOS if "|" in it.what]
    assert not [it.name for it in SCENARIOS if it.faults[1] > it.faults[0] or it.records[1] > it.records[0]]
