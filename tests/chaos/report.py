"""The table of a run, for the terminal and for ``docs/reliability.md``."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.scenario import Outcome
from tests.kafka_broker import ROOT, VERSION

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
COLUMNS = (
    "fault", "guarantee", "records", "faults", "missing", "doubled", "wrong", "out of order", "wrongly dead",
    "asked twice", "goes on after, median (most)", "time",
)  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table, and below it what the user saw."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- " + "| ---: " * (len(COLUMNS) - 2) + "|"]
    lines += [f"| {' | '.join(_cells(outcome))} |" for outcome in outcomes]
    said = [
        f"- **{outcome.scenario.name}**: " + "; ".join(f"`{text.replace('`', chr(39))}`" for text in outcome.said)
        for outcome in outcomes
        if outcome.said
    ]
    return "\n".join([*lines, "", "What the processes said most (numbers left out):", "", *said])


def _cells(outcome: Outcome) -> list[str]:
    verdict, pauses = outcome.verdict, outcome.pauses
    name = f"**{outcome.scenario.name}**: {outcome.scenario.what}"
    guarantee = outcome.delivery.replace("_", " ")
    if verdict is None:
        return [name, guarantee, outcome.problem.replace("|", "/"), *("" for _ in COLUMNS[3:])]
    return [
        name,
        guarantee,
        f"{verdict.records:,}",
        str(outcome.faults),
        *(str(n) for n in (verdict.missing, verdict.doubled, verdict.wrong, verdict.out_of_order, verdict.wrongly_dead)),
        f"{outcome.asked_twice:.1%}",
        f"{statistics.median(pauses):.1f} s ({max(pauses):.1f} s)" if pauses else "",
        f"{outcome.seconds:.0f} s",
    ]


def setting(seed: int, form: str) -> str:
    """Date, machine, versions, commit and form of a run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (
        f"{form}, {datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {sys.version.split()[0]}, Apache Kafka {VERSION}, seed {seed}"
    )


def write(file: Path, outcomes: Sequence[Outcome], where: str) -> None:
    """Puts the table between the marks of a document, below what ``setting`` says.

    Raises:
        ValueError: The document has no marks.
    """
    text = file.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n\n{where}\n\n{table(outcomes)}\n\n{END}{after}")
