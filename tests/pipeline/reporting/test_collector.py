"""The metrics, in Prometheus' text format 0.0.4 as its own grammar reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from pipeline.process.stats import WorkerStats
from pipeline.reporting.collector import registry_of
from pipeline.reporting.lag import Lag

SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\[\\"n])*)"\})? ([0-9.e+-]+)')


def parse(text: str) -> dict[tuple[str, str | None], float]:
    """Reads the exposition format 0.0.4 strictly: a TYPE before each sample, families together, a line feed at the end."""
    assert text.endswith("\n")
    found: dict[tuple[str, str | None], float] = {}
    kinds: dict[str, str] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, family, words = line.split(" ", 3)
            assert family not in kinds
            assert words
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            assert kind in ("counter", "gauge")
            assert (kind == "counter") == name.endswith("_total")
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == family
            assert (match[1], match[3]) not in found
            found[match[1], match[3]] = float(match[4])
    return found


def stats() -> WorkerStats:
    worker = WorkerStats()
    worker.committed(7, {"Tombstone": 2, 'odd "\\\n': 1}, [(5.0, 10)])
    worker.answered(6)
    worker.retried()
    worker.rolled_back("x")
    worker.assigned(["a/0", "a/1"])
    worker.polled()
    return worker


def rendered(worker: WorkerStats) -> str:
    return generate_latest(registry_of(worker.rows)).decode()


def test_the_lag_by_partition() -> None:
    lag = Lag({("in", 0): 5, ("in", 1): 0})
    text = generate_latest(registry_of(stats().rows, lambda: lag)).decode()
    assert 'scoring_lag_records{partition="0",topic="in"} 5.0' in text
    assert 'scoring_lag_records{partition="1",topic="in"} 0.0' in text
    assert "scoring_lag_records{" not in rendered(stats()), "while it is not known"


def test_what_is_rendered() -> None:
    found = parse(rendered(stats()))
    assert found["scoring_predictions_total", None] == 7
    assert found["scoring_dead_letters_total", "Tombstone"] == 2
    assert found["scoring_dead_letters_total", r"odd \"\\\n"] == 1
    assert found["scoring_requests_total", None] == 1
    assert found["scoring_request_rows_total", None] == 6
    assert found["scoring_retries_total", None] == 1
    assert found["scoring_rollbacks_total", None] == 1
    assert found["scoring_bundles_total", None] == 1
    assert found["scoring_partitions", None] == 2
    assert found["scoring_holding", None] == 0
    assert found["scoring_latency_ms", "0.99"] == pytest.approx(5, rel=0.05)


def test_before_anything_happened() -> None:
    found = parse(rendered(WorkerStats()))
    assert not [name for name, label in found if name == "scoring_dead_letters_total"]
    assert set(found.values()) == {0}


def test_it_says_when_it_holds() -> None:
    worker = stats()
    worker.holding("down")
    assert parse(rendered(worker))["scoring_holding", None] == 1


def test_workers_are_summed(tmp_path: Path) -> None:
    first, second = (WorkerStats(tmp_path / "stats", worker, 2) for worker in (0, 1))
    first.committed(3, {"Tombstone": 1}, [(1.0, 4)])
    second.committed(4, {"Tombstone": 2, "Rejected": 1}, [(1.0, 7)])
    second.assigned(["a/0"])
    found = parse(rendered(first))
    assert found["scoring_predictions_total", None] == 7
    assert found["scoring_dead_letters_total", "Tombstone"] == 3
    assert found["scoring_dead_letters_total", "Rejected"] == 1
    assert found["scoring_partitions", None] == 1
