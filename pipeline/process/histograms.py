"""Histograms in the workers' rows: counts of fixed buckets and the sum, which add up over workers and replicas."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_AGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
_TOKENS = tuple(float(4**power) for power in range(14))
"""Those of OpenTelemetry's conventions for ``gen_ai.client.token.usage``."""
_OPERATIONS = tuple(0.01 * 2**power for power in range(14))
"""Those of the same conventions for ``gen_ai.client.operation.duration``: 0.01 to 81.92 s."""
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)


Buckets = list[tuple[float, int]]
"""The upper bound of each bucket, and how many values are up to it; the last one is infinite."""


def prometheus_buckets(buckets: Buckets) -> list[tuple[str, int]]:
    """The same with the bounds as Prometheus writes them."""
    return [("+Inf" if bound == float("inf") else f"{bound}", count) for bound, count in buckets]


@dataclasses.dataclass(frozen=True)
class Histogram:
    """One histogram. What it has counted is a field of ``stats.ROW`` by the same name.

    Attributes:
        name: The name of the field, and of the metric after ``scoring_``; it ends with the unit.
        help: What is measured, for the metric.
        bounds: The upper bound of each bucket, in that unit; one more bucket has what is above all of them.
    """

    name: str
    help: str
    bounds: tuple[float, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the field."""
        return np.dtype([("counts", "<i8", (len(self.bounds) + 1,)), ("sum", "<f8")])

    def observe(self, row: Any, value: float, count: int = 1) -> None:
        """Counts a value in a worker's row, ``count`` times."""
        field = row[self.name]
        field["counts"][bisect.bisect_left(self.bounds, value)] += count
        field["sum"] += value * count

    def observe_all(self, row: Any, values: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """Counts many values at once."""
        field, found = row[self.name], np.asarray(values, np.float64)
        buckets = np.searchsorted(self.bounds, found, side="left")
        field["counts"] += np.bincount(buckets, minlength=len(self.bounds) + 1)
        field["sum"] += found.sum()

    def totals(self, rows: Any) -> tuple[Buckets, float]:
        """Returns ``(bound, how many values up to it)`` of each bucket, the last one unbounded, and the sum."""
        field = rows[self.name]
        counts = np.cumsum(field["counts"].sum(axis=0))
        return [(bound, int(n)) for bound, n in zip((*self.bounds, float("inf")), counts, strict=True)], float(
            field["sum"].sum()
        )


REQUEST = Histogram("request_duration_seconds", "Seconds that a request took which the model server answered.", _DURATIONS)
REQUEST_RECORDS = Histogram("request_records", "Records in a request that the model server answered.", _SIZES)
LATENCY = Histogram(
    "latency_seconds",
    "Seconds from a record's being read to the commit of its prediction or dead letter.",
    _DURATIONS,
)
END_TO_END = Histogram(
    "end_to_end_latency_seconds",
    "Seconds from a record's Kafka timestamp to the commit of its prediction or dead letter.",
    _AGES,
)
TRANSACTION = Histogram(
    "transaction_duration_seconds", "Seconds that a Kafka transaction was open until its commit.", _DURATIONS
)

INPUT_TOKENS = Histogram("input_tokens", "Tokens of what a request asks, as the model server counts them.", _TOKENS)
OUTPUT_TOKENS = Histogram("output_tokens", "Tokens of what the model made for a request, likewise.", _TOKENS)

OPERATION = Histogram("operation_duration_seconds", REQUEST.help, _OPERATIONS)
"""The same as ``REQUEST``, in the buckets that dashboards of language models expect."""

TOKENS = (INPUT_TOKENS, OUTPUT_TOKENS)
"""Those of language models, which have a metric of their own; so has ``OPERATION``."""

HISTOGRAMS = (REQUEST, REQUEST_RECORDS, LATENCY, END_TO_END, TRANSACTION)
