"""The counters of all workers, in one memory-mapped file. Each worker writes one row; the status and the metrics read all.

A mapped file outlives the process that wrote it. So the counts of a killed worker are kept, and the worker that replaces it
adds to the same row.
"""

from __future__ import annotations

import math
import mmap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.process.histograms import (
    END_TO_END,
    HISTOGRAMS,
    INPUT_TOKENS,
    LATENCY,
    OPERATION,
    OUTPUT_TOKENS,
    REQUEST,
    REQUEST_RECORDS,
    TOKENS,
    TRANSACTION,
)
from pipeline.process.samples import sampler
from transforms.errors import ModelError
from transforms.headers import ERROR_CLASS, ERROR_MESSAGE
from transforms.observe import Ages, DeadLetterKind, Observer, RollbackCause, failure_kind, failure_kinds
from transforms.types import OutputRecord, Tokens

_BUCKETS = 400
_SHORTEST_S = 0.00001
_BASE = 1.05
"""Each latency bucket is 5% wider than the one before, from ``_SHORTEST_S`` on. So a quantile has an error of at most 5%."""

_REASONS = 64

FAILURES = failure_kinds()
"""The kinds of failed requests, in the order of the counters in a row."""

CAUSES = tuple(RollbackCause)
"""The causes of rollbacks, in the order of the counters in a row."""

ROW = np.dtype(
    [
        ("predictions", "<i8"),
        ("dead_letters", "<i8"),
        ("bundles", "<i8"),
        ("retries", "<i8"),
        ("rollbacks", "<i8", (len(CAUSES),)),
        ("failures", "<i8", (len(FAILURES),)),
        ("starts", "<i8"),  # how often a worker began with this row
        ("unanswered", "<i8"),
        ("spans_lost", "<i8"),
        ("paced_s", "<f8"),  # how long requests waited for the rate limits
        ("first_at", "<f8"),  # on the monotonic clock, which processes of a machine share: the first record was read
        ("last_at", "<f8"),  # the last bundle was committed
        ("polled_at", "<f8"),  # Kafka was last asked for records
        ("latency", "<i8", (_BUCKETS,)),
        *((histogram.name, histogram.dtype) for histogram in (*HISTOGRAMS, *TOKENS, OPERATION)),
        # Named STAGE/CLASS; with the message of the last dead letter, and when it was committed, on the monotonic clock.
        ("reasons", [("name", "S64"), ("count", "<i8"), ("message", "S256"), ("at", "<f8")], (_REASONS,)),
        ("partitions", "<i8"),
        ("in_flight", "<i8"),
        ("in_flight_limit", "<i8"),
        ("version", "S64"),
        ("holding", "S512"),
        ("holding_since", "<f8"),  # on the clock of the day: it is told to people
        ("rolled_back", "S512"),
    ]
)


class WorkerStats(Observer):
    """The observer that counts in one worker's row.

    Args:
        path: The mapped file; ``None`` keeps the row in memory.
        worker: The row's number.
        workers: Number of rows in the file.
    """

    def __init__(self, path: Path | None = None, worker: int = 0, workers: int = 1):
        self.rows = open_rows(path, workers)
        self._row = self.rows[worker]
        # These describe the process, so a restarted worker resets them.
        for name in ("partitions", "in_flight", "in_flight_limit", "unanswered", "holding_since"):
            self._row[name] = 0
        self._row["version"] = self._row["holding"] = b""
        self._row["starts"] += 1
        self._sampler = sampler(path, worker)
        self._lock = threading.Lock()  # several bundles may report at once: shards on Flink
        self._reasons = {bytes(slot["name"]): index for index, slot in enumerate(self._row["reasons"]) if slot["name"]}
        self._without_message: set[str] = set()  # kinds of dead letters that were counted, until ``written`` has the outputs

    def committed(
        self, predictions: int, dead_letters: Mapping[DeadLetterKind, int], latencies_s: Sequence[tuple[float, int]]
    ) -> None:
        """As ``Observer.committed``."""
        row, now = self._row, time.monotonic()
        row["bundles"] += 1
        if not latencies_s:
            return
        if not row["first_at"]:
            row["first_at"] = now - latencies_s[0][0]
        row["last_at"] = now
        row["predictions"] += predictions
        for (stage, name), count in dead_letters.items():
            row["dead_letters"] += count
            row["reasons"][self._reason(f"{stage}/{name}")]["count"] += count
            self._without_message.add(f"{stage}/{name}")
        for latency_s, count in latencies_s:
            row["latency"][_bucket(latency_s)] += count
            LATENCY.observe(row, latency_s, count)

    def committed_after(self, ages_s: Ages, transaction_s: float | None) -> None:
        """As ``Observer.committed_after``."""
        END_TO_END.observe_all(self._row, ages_s)
        if transaction_s is not None:
            TRANSACTION.observe(self._row, transaction_s)

    def written(self, outputs: Sequence[OutputRecord]) -> None:
        """As ``Observer.written``."""
        self._note_messages(outputs)
        if self._sampler is not None:
            self._sampler.take(outputs)

    def polled(self) -> None:
        """As ``Observer.polled``."""
        self._row["polled_at"] = time.monotonic()

    def answered(self, rows: int, took_s: float, version: str | None) -> None:
        """As ``Observer.answered``."""
        with self._lock:
            REQUEST.observe(self._row, took_s)
            OPERATION.observe(self._row, took_s)
            REQUEST_RECORDS.observe(self._row, rows)
            self._row["version"] = (version or "").encode(errors="replace")[:64]

    def counted_tokens(self, tokens: Tokens) -> None:
        """As ``Observer.counted_tokens``."""
        with self._lock:
            for histogram, count in ((INPUT_TOKENS, tokens.prompt), (OUTPUT_TOKENS, tokens.completion)):
                if count is not None:
                    histogram.observe(self._row, count)

    def request_failed(self, error: ModelError) -> None:
        """As ``Observer.request_failed``."""
        with self._lock:
            self._row["failures"][FAILURES.index(failure_kind(error))] += 1

    def requesting(self, in_flight: int, limit: int) -> None:
        """As ``Observer.requesting``."""
        self._row["in_flight"], self._row["in_flight_limit"] = in_flight, limit

    def paced(self, waited_s: float) -> None:
        """As ``Observer.paced``."""
        with self._lock:
            self._row["paced_s"] += waited_s

    def retried(self) -> None:
        """As ``Observer.retried``."""
        with self._lock:
            self._row["retries"] += 1

    def rolled_back(self, reason: str, cause: RollbackCause) -> None:
        """As ``Observer.rolled_back``."""
        self._row["rollbacks"][CAUSES.index(cause)] += 1
        self._row["rolled_back"] = reason.encode(errors="replace")[:512]

    def left_unanswered(self, records: int) -> None:
        """As ``Observer.left_unanswered``."""
        with self._lock:
            self._row["unanswered"] += records

    def spans_lost(self, count: int) -> None:
        """As ``Observer.spans_lost``."""
        with self._lock:
            self._row["spans_lost"] += count

    def assigned(self, partitions: Sequence[str]) -> None:
        """As ``Observer.assigned``."""
        self._row["partitions"] = len(partitions)

    def holding(self, reason: str | None) -> None:
        """As ``Observer.holding``."""
        if not self._row["holding"] or not reason:
            self._row["holding_since"] = time.time() if reason else 0
        self._row["holding"] = (reason or "").encode(errors="replace")[:512]

    def _note_messages(self, outputs: Sequence[OutputRecord]) -> None:
        """Keeps the last message of each kind of dead letter. A bundle without dead letters costs nothing."""
        for output in reversed(outputs):
            if not self._without_message:
                return
            if output.failed_stage is None:
                continue
            headers = dict(output.headers)  # the last one of a name is ours
            name = f"{output.failed_stage}/{(headers.get(ERROR_CLASS) or b'').decode(errors='replace')}"
            if name in self._without_message:
                self._without_message.discard(name)
                slot = self._row["reasons"][self._reason(name)]
                slot["message"], slot["at"] = (headers.get(ERROR_MESSAGE) or b"")[:256], time.monotonic()
        self._without_message.clear()

    def _reason(self, name: str) -> int:
        key = name.encode(errors="replace")[:64]
        if key not in self._reasons:
            index = min(len(self._reasons), _REASONS - 1)
            self._row["reasons"][index]["name"] = key
            self._reasons[key] = index
        return self._reasons[key]


def open_rows(path: Path | None, workers: int) -> Any:
    """Returns an array of ``ROW``, shape ``[workers]``, mapped to the file. Creates the file if it does not exist."""
    if path is None:
        return np.zeros(workers, ROW)
    size = ROW.itemsize * workers
    with path.open("a+b") as file:
        if file.seek(0, 2) < size:
            file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), ROW)


def _bucket(latency_s: float) -> int:
    return max(0, min(_BUCKETS - 1, int(math.log(max(latency_s, _SHORTEST_S) / _SHORTEST_S, _BASE))))


class Totals:
    """The sum over all workers at one moment."""

    def __init__(self, rows: Any):
        self.predictions = int(rows["predictions"].sum())
        self.dead_letters = int(rows["dead_letters"].sum())
        self.records = self.predictions + self.dead_letters
        self.bundles = int(rows["bundles"].sum())
        self.retries = int(rows["retries"].sum())
        self.rollbacks_by_cause = dict(zip(CAUSES, rows["rollbacks"].sum(axis=0).tolist(), strict=True))
        self.rollbacks = sum(self.rollbacks_by_cause.values())
        self.failures = dict(zip(FAILURES, rows["failures"].sum(axis=0).tolist(), strict=True))
        self.restarts = int(np.maximum(rows["starts"] - 1, 0).sum())
        self.unanswered = int(rows["unanswered"].sum())
        self.spans_lost = int(rows["spans_lost"].sum())
        self.paced_s = float(rows["paced_s"].sum())
        self.partitions = int(rows["partitions"].sum())
        self.in_flight = int(rows["in_flight"].sum())
        self.in_flight_limit = int(rows["in_flight_limit"].sum())
        self.versions = sorted({bytes(text).decode(errors="replace") for text in rows["version"] if text})
        self.holding_since = min((float(at) for at in rows["holding_since"] if at), default=None)
        self.histograms = {histogram: histogram.totals(rows) for histogram in HISTOGRAMS}
        self.tokens = {histogram: histogram.totals(rows) for histogram in TOKENS}
        self.operations = OPERATION.totals(rows)
        buckets, batched = self.histograms[REQUEST_RECORDS]
        self.batches, self.batched_rows = buckets[-1][1], round(batched)
        self.holding = next((bytes(text).decode(errors="replace") for text in rows["holding"] if text), "")
        self.rolled_back = next((bytes(text).decode(errors="replace") for text in rows["rolled_back"] if text), "")
        started = rows["first_at"][rows["first_at"] > 0]
        self.duration_s = float(rows["last_at"].max() - started.min()) if len(started) else 0.0
        self._latency = rows["latency"].sum(axis=0)
        self.kinds: dict[DeadLetterKind, int] = {}
        self.reasons: dict[str, int] = {}
        self.messages: dict[str, str] = {}
        """Dead-letter class to the message of the last one, if that is known."""
        latest: dict[str, float] = {}
        for slot in rows["reasons"].ravel():
            if slot["count"]:
                stage, _, name = bytes(slot["name"]).decode(errors="replace").partition("/")
                self.kinds[stage, name] = self.kinds.get((stage, name), 0) + int(slot["count"])
                self.reasons[name] = self.reasons.get(name, 0) + int(slot["count"])
                if slot["at"] > latest.get(name, 0.0):
                    latest[name] = float(slot["at"])
                    self.messages[name] = bytes(slot["message"]).decode(errors="ignore")  # it may be cut within a character

    @property
    def records_per_s(self) -> float:
        """Records a second, from the first record read to the last commit."""
        return self.records / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def token_counts(self) -> dict[str, int]:
        """Tokens of what requests asked, ``input``, and of what the model made, ``output``; empty if none were counted."""
        counts = {"input": round(self.tokens[INPUT_TOKENS][1]), "output": round(self.tokens[OUTPUT_TOKENS][1])}
        return counts if any(counts.values()) else {}

    @property
    def mean_batch_size(self) -> float:
        """Mean number of rows of an answered request."""
        return self.batched_rows / self.batches if self.batches else 0.0

    def latency_ms(self, quantile: float, since: Totals | None = None) -> float:
        """Returns a quantile of the latency, from reading a record to the commit of its output, in ms. Error at most 5%.

        Args:
            quantile: From 0 to 1.
            since: Leaves out what these earlier totals had already.
        """
        latency = self._latency if since is None else self._latency - since._latency
        total = int(latency.sum())
        if not total:
            return 0.0
        index = int(np.searchsorted(np.cumsum(latency), max(1, quantile * total)))
        return round(float(_SHORTEST_S * _BASE ** (index + 0.5)) * 1000, 3)

    def summary(self) -> dict[str, Any]:
        """Returns the content of ``--summary_json``."""
        return {
            "records": self.records,
            "predictions": self.predictions,
            "dead_letters": self.dead_letters,
            "dead_letters_by_class": dict(sorted(self.reasons.items())),
            "duration_s": round(self.duration_s, 3),
            "records_per_s": round(self.records_per_s, 1),
            "latency_ms": {"p50": self.latency_ms(0.5), "p99": self.latency_ms(0.99)},
            "batches": self.batches,
            "mean_batch_size": round(self.mean_batch_size, 2),
            **({"tokens": counts} if (counts := self.token_counts) else {}),
            "retries": self.retries,
            "bundles": self.bundles,
            "rollbacks": self.rollbacks,
            "unanswered": self.unanswered,
        }
