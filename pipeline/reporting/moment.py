"""``Moment``: all that the status shows of a running job, at one moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Protocol

from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag
from pipeline.reporting.recent import Recent


class Predictions(Protocol):
    """The latest predictions, to be shown."""

    @property
    def latest(self) -> Iterable[tuple[str, str, str]]:
        """Key, label and verdict of each."""

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Number of right predictions and of comparisons, by the set of records that was compared."""


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """What is shown.

    Attributes:
        totals: The counters of all workers.
        recent: The same, of the last seconds.
        phase: What the job is doing, in words.
        predictions: The latest predictions, if a watcher reads them.
        lag: How much is to go, if it is known.
    """

    totals: Totals
    recent: Recent
    phase: str
    predictions: Predictions | None = None
    lag: Lag | None = None

    def latency(self, quantile: float) -> str:
        """A quantile of the latest latency, such as ``12 ms``; a dash where nothing was committed lately."""
        latency_ms = self.recent.latency_ms(quantile)
        return f"{latency_ms:,.0f} ms" if latency_ms else "–"
