"""Which scenarios a command plays, and that a log can be taken without playing any."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.__main__ import attempts, main, rounds
from tests.chaos.report import BEGIN, END, Run, read, row, table
from tests.chaos.scenario import AT_LEAST_ONCE, EXACTLY_ONCE, Outcome
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.verdict import Verdict


def test_the_long_form_plays_everything() -> None:
    assert {(it.name, delivery) for it, delivery in rounds()} == {
        (it.name, delivery) for it in SCENARIOS for delivery in it.deliveries
    }


def test_the_short_form_plays_its_scenarios_with_one_guarantee_each() -> None:
    assert [(it.name, delivery) for it, delivery in rounds(quick=True)] == [
        (it.name, EXACTLY_ONCE) for it in SCENARIOS if it.quick
    ]


def test_what_is_asked_for_is_played() -> None:
    """Also what the short form leaves out; a scenario that has no such guarantee is not played."""
    assert [(it.name, delivery) for it, delivery in rounds(["kill-parent", "slow"], [AT_LEAST_ONCE], quick=True)] == [
        ("kill-parent", AT_LEAST_ONCE)
    ]


def outcome(problem: str) -> Outcome:
    verdict = None if problem else Verdict(1, 0, 0, 0, 0, 0)
    return Outcome(SCENARIOS[0], EXACTLY_ONCE, 7, 0, (), 0, 1, verdict, problem, ())


@pytest.mark.parametrize(
    ("problems", "again", "failed"),
    [
        (["", ""], True, [False]),
        (["not run: no disk", ""], True, [False]),
        (["no end", ""], True, [True, False]),
        (["no end", "no end"], True, [True, True]),
        (["no end", ""], False, [True]),
    ],
    ids=["holds", "can't be played", "fails once", "fails twice", "is not played again"],
)
def test_what_fails_is_played_again_at_most_once(problems: list[str], again: bool, failed: list[bool]) -> None:
    outcomes = iter([outcome(problem) for problem in problems])
    assert [it.failed for it in attempts(lambda: next(outcomes), again)] == failed


def test_a_log_is_taken_into_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run("long", "2026-11-27", "db64714", "2 cores", 7)
    found = row(Outcome(SCENARIOS[0], EXACTLY_ONCE, 7, 0, (), 0, 1, None, "not run: no disk", ("said",)), run)
    log, document = tmp_path / "log", tmp_path / "document.md"
    log.write_text(f"{run}\n{table([found])}\n")
    document.write_text(f"{BEGIN}\n{END}\n")
    assert main([f"--take={log}", f"--report={document}"]) == 0
    assert read(document.read_text()) == [found]
    with pytest.raises(SystemExit):
        main([f"--take={log}"])
    assert "--take needs --report" in capsys.readouterr().err
    log.write_text(f"{run}\n[1/1] kill, exactly_once: …\n")
    with pytest.raises(SystemExit):
        main([f"--take={log}", f"--report={document}"])
    assert "no table is in it yet" in capsys.readouterr().err
    assert read(document.read_text()) == [found]
