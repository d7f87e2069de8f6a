"""The table of what was played, for the terminal and for ``docs/reliability.md``, which several runs may fill."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.scenario import NOT_RUN, Outcome
from tests.kafka_broker import ROOT, VERSION

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
COLUMNS = (
    "fault", "guarantee", "records", "faults", "missing", "doubled", "wrong", "out of order", "wrongly dead",
    "asked twice", "goes on after, median (most)", "time", "run",
)  # fmt: skip
SAID = "What the processes said most (numbers left out):"

_NAME = re.compile(r"\*\*([\w-]+)\*\*")
_SAID = re.compile(r"- (\*\*[\w-]+\*\*(?:, [\w ]+)?): (.*)")
_RUN = re.compile(r"- run (.+?): (.+)")
_SETTING = re.compile(r"(\w+) form, (\d{4}-\d\d-\d\d), commit (\S+?), (.+), seed (\d+)")


@dataclasses.dataclass(frozen=True)
class Run:
    """When, where and of what a run was.

    Attributes:
        form: ``long`` or ``short``.
        date: When it began, in UTC.
        commit: What was played; with ``+`` if files differed from it.
        machine: Cores and versions.
        seed: Of its random choices.
    """

    form: str
    date: str
    commit: str
    machine: str
    seed: int

    @classmethod
    def now(cls, seed: int, form: str) -> Run:
        """A run that begins here."""
        machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {sys.version.split()[0]}, Apache Kafka {VERSION}"
        return cls(form, f"{datetime.now(UTC):%Y-%m-%d}", _commit(), machine, seed)

    @property
    def name(self) -> str:
        """What a row of the table says of it."""
        return f"{self.form}, {self.date}, {self.commit}, seed {self.seed}"

    def __str__(self) -> str:
        return f"{self.form} form, {self.date}, commit {self.commit}, {self.machine}, seed {self.seed}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return f"{git('rev-parse', '--short', 'HEAD') or 'unknown'}{'+' if changed else ''}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A scenario with one of the guarantees, in the words of the table.

    Attributes:
        cells: One of each of ``COLUMNS``.
        said: What the processes said most.
        machine: Of its run.
    """

    cells: tuple[str, ...]
    said: str
    machine: str

    @property
    def key(self) -> tuple[str, str]:
        """The scenario's name and the guarantee: of each there is one row."""
        return scenario_of(self.cells[0]), self.cells[1]

    @property
    def is_long(self) -> bool:
        """Whether its run was one of the long form."""
        return self.run.startswith("long")

    @property
    def is_faulty(self) -> bool:
        """Whether it shows a broken guarantee, or that there are no counts, but for want of something on the machine."""
        if self.cells[2].startswith(NOT_RUN):
            return False
        missing, doubled, wrong, out_of_order, dead = self.cells[4:9]
        at_most_0 = [missing, wrong, dead, *((doubled, out_of_order) if self.cells[1] == "exactly once" else ())]
        return any(count != "0" for count in at_most_0)

    @property
    def run(self) -> str:
        """The name of its run."""
        return self.cells[-1]


def scenario_of(cell: str) -> str:
    """The scenario's name in the first cell of a row."""
    found = _NAME.match(cell)
    return found[1] if found else cell


def row(outcome: Outcome, run: Run) -> Row:
    """An outcome in the words of the table."""
    said = "; ".join(f"`{text.replace('`', chr(39))}`" for text in outcome.said)
    return Row((*_cells(outcome), run.name), said, run.machine)


def _cells(outcome: Outcome) -> list[str]:
    verdict, pauses = outcome.verdict, outcome.pauses
    name = f"**{outcome.scenario.name}**: {outcome.scenario.what}"
    guarantee = outcome.delivery.replace("_", " ")
    if verdict is None:
        return [name, guarantee, outcome.problem.replace("|", "/"), *("" for _ in COLUMNS[4:])]
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


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; below it their runs, and what the user saw."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- " + "| ---: " * (len(COLUMNS) - 3) + "| --- |"]
    lines += [f"| {' | '.join(it.cells)} |" for it in rows]
    runs = [f"- run {name}: {machine}" for name, machine in dict.fromkeys((it.run, it.machine) for it in rows)]
    said = [f"- **{it.key[0]}**, {it.key[1]}: {it.said}" for it in rows if it.said]
    return "\n".join([*lines, "", *runs, "", SAID, "", *said])


def read(text: str) -> list[Row]:
    """The rows of a table that ``table`` wrote."""
    cells = [_split(line) for line in text.splitlines() if line.startswith("| **")]
    machines = {found[1]: found[2] for line in text.splitlines() if (found := _RUN.fullmatch(line))}
    said = {found[1]: found[2] for line in text.splitlines() if (found := _SAID.fullmatch(line))}
    return [
        Row(it, said.get(f"**{scenario_of(it[0])}**, {it[1]}", ""), machines.get(it[-1], ""))
        for it in cells
        if len(it) == len(COLUMNS)
    ]


def read_log(text: str) -> list[Row]:
    """The rows of what a run printed: its table at the end, and where and when that was at its beginning.

    It reads the form without a column of runs, too, whose lines of what was said name no guarantee: they are taken where
    there is one for each row.

    Raises:
        ValueError: It does not begin as the output of a run, or no table is in it.
    """
    found = _SETTING.match(text)
    if not found:
        raise ValueError("this is not what a run of the chaos suite has printed")
    run = Run(found[1], found[2], found[3], found[4], int(found[5]))
    lines = text.splitlines()
    rows = read(text)
    older = [it for line in lines if line.startswith("| **") and len(it := _split(line)) == len(COLUMNS) - 1]
    said: dict[str, list[str]] = {}
    for line in lines:
        if named := _SAID.fullmatch(line):
            said.setdefault(named[1], []).append(named[2])
    for cells in older:
        name = f"**{scenario_of(cells[0])}**"
        same = [it for it in older if scenario_of(it[0]) == scenario_of(cells[0])]
        texts = said.get(name, [])
        own = texts[same.index(cells)] if len(texts) == len(same) else ""
        rows.append(Row((*cells, run.name), own, run.machine))
    if not rows:
        raise ValueError("no table is in it yet")
    return rows


def _split(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|"))


def merged(old: Iterable[Row], new: Iterable[Row], order: Sequence[str]) -> list[Row]:
    """The rows of both, in the order of the scenarios. Rows of other scenarios are left out.

    A new row takes the place of an old one, unless that is of the long form and this of the short one: it shows less. One
    that tells of a fault takes it always.
    """
    rows = {it.key: it for it in old}
    for it in new:
        if it.key not in rows or it.is_long or it.is_faulty or not rows[it.key].is_long:
            rows[it.key] = it
    found = [it for it in rows.values() if it.key[0] in order]
    return sorted(found, key=lambda it: (order.index(it.key[0]), it.key[1] != "exactly once"))


def write(file: Path, rows: Sequence[Row], order: Sequence[str]) -> None:
    """Puts rows into the table of a document, between its marks, in place of those of the same scenario and guarantee.

    Raises:
        ValueError: The document has no marks.
    """
    before, begin, rest = file.read_text().partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no {BEGIN} and {END}")
    changed = file.with_name(f".{file.name}.new")
    changed.write_text(f"{before}{BEGIN}\n\n{table(merged(read(inside), rows, order))}\n\n{END}{after}")
    changed.replace(file)  # a run may be ended at any moment
