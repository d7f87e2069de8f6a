"""The progress of a replay: a bar on a terminal, lines elsewhere, nothing with ``--status=off``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipeline.dead_letter_tools.selecting import Counts
from transforms.printable import printable

LINES_S = 2.0
"""Seconds between two lines."""


class NoProgress:
    """Shows nothing, and is the base class of the others. A context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Shows a message."""

    def show(self, passed: int, offsets: int, counts: Counts) -> None:
        """Shows how far the replay is.

        Args:
            passed: How many offsets of the dead-letter topic were passed.
            offsets: How many there are.
            counts: What became of the records.
        """


class LineProgress(NoProgress):
    """Prints a line now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._shown_at = clock, clock()

    def say(self, text: str) -> None:
        """As ``NoProgress.say``."""
        print(printable(text), flush=True)

    def show(self, passed: int, offsets: int, counts: Counts) -> None:
        """As ``NoProgress.show``."""
        if self._clock() - self._shown_at >= LINES_S:
            self._shown_at = self._clock()
            self.say(f"{passed:,} of {offsets:,} passed, {_told(counts)}")


class BarProgress(NoProgress):
    """Draws a bar, and updates it in place."""

    def __init__(self) -> None:
        columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, TimeRemainingColumn(compact=True), console=Console(), transient=True)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """As ``NoProgress.say``."""
        self._bar.console.print(Text(printable(text)))

    def show(self, passed: int, offsets: int, counts: Counts) -> None:
        """As ``NoProgress.show``."""
        self._bar.update(self._task, completed=passed, total=offsets, description=_told(counts))


def open_progress(kind: str) -> NoProgress:
    """Makes the progress of ``--status``."""
    if kind == "auto":
        kind = "live" if sys.stdout.isatty() else "plain"
    kinds: dict[str, type[NoProgress]] = {"live": BarProgress, "plain": LineProgress, "off": NoProgress}
    return kinds[kind]()


def _told(counts: Counts) -> str:
    refused = f", {counts.refused.total():,} refused" if counts.refused else ""
    return f"{counts.replayed:,} replayed{refused}"
