"""Benchmark figures with their targets, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: What was measured.
        value: The median of the runs.
        unit: Such as ``records/s`` or ``ms``.
        runs: The single runs' values.
        at_least: The target, where more is better.
        at_most: The target, where less is better.
        remark: Further text for the table.
    """

    name: str
    value: float
    unit: str
    runs: tuple[float, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    remark: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the target was reached; ``None`` without a target."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None

    @property
    def target(self) -> str:
        """The target as text."""
        if self.at_least is not None:
            return f"≥ {_number(self.at_least)}"
        return f"≤ {_number(self.at_most)}" if self.at_most is not None else ""


def median_of(name: str, runs: Sequence[float], unit: str, **target: Any) -> Figure:
    """The figure of several runs: their median."""
    return Figure(name, statistics.median(runs), unit, tuple(runs), **target)


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, one a line."""
    rows = [("", "median", "", "target", "", "runs")]
    for figure in figures:
        verdict = {True: "pass", False: "FAIL", None: ""}[figure.passed]
        runs = " ".join(map(_number, figure.runs)) if len(figure.runs) > 1 else ""
        rows.append((figure.name, _number(figure.value), figure.unit, figure.target, verdict, runs or figure.remark))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    right = (False, True, False, True, False)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row[:5], widths, right, strict=True)
        ]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join(lines)


def write_json(path: Path, machine: dict[str, Any], settings: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Writes the machine's description, the settings and all figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**dataclasses.asdict(figure), "passed": figure.passed} for figure in figures]
    path.write_text(json.dumps({"machine": machine, "settings": settings, "figures": rows}, indent=2) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
