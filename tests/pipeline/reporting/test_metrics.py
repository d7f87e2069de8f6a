"""Prometheus' text format, as its own grammar reads it, and the small server."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.metrics import CONTENT_TYPE, STUCK_S, not_ready, render, serve_metrics, unhealthy
from transforms.errors import ScoringError

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


def test_what_is_rendered() -> None:
    found = parse(render(Totals(stats().rows)))
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
    found = parse(render(Totals(WorkerStats().rows)))
    assert not [name for name, label in found if name == "scoring_dead_letters_total"]
    assert set(found.values()) == {0}


def test_it_says_when_it_holds() -> None:
    worker = stats()
    worker.holding("down")
    assert parse(render(Totals(worker.rows)))["scoring_holding", None] == 1


def get(port: int, path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_served_over_http_and_always_as_of_now() -> None:
    worker = stats()
    with serve_metrics(0, worker.rows) as port:
        status, content_type, text = get(port, "/metrics")
        assert (status, content_type) == (200, CONTENT_TYPE)
        assert parse(text)["scoring_predictions_total", None] == 7
        worker.committed(1, {}, [(1.0, 1)])
        assert parse(get(port, "/metrics")[2])["scoring_predictions_total", None] == 8
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/")[0] == 404


def test_a_worker_that_has_not_started_to_read_is_not_healthy() -> None:
    """A startup probe waits for it."""
    assert unhealthy(WorkerStats().rows, 0) == "worker 0 has not asked Kafka for records yet"


def test_a_worker_that_reads_is_healthy_and_one_that_is_stuck_is_not(tmp_path: Path) -> None:
    first, second = (WorkerStats(tmp_path / "stats", worker, 2) for worker in (0, 1))
    first.polled()
    second.polled()
    rows = first.rows
    rows["polled_at"] = [1000, 1060]
    assert unhealthy(rows, 1000 + STUCK_S) is None
    assert unhealthy(rows, 1001 + STUCK_S) == f"worker 0 has not asked Kafka for records for {STUCK_S + 1:.0f} s"
    rows["polled_at"][0] = 1060
    assert unhealthy(rows, 1001 + STUCK_S) is None


def test_holding_is_healthy_but_not_ready() -> None:
    """A restart would not bring the model server back."""
    worker = stats()
    with serve_metrics(0, worker.rows) as port:
        assert get(port, "/readyz")[0] == 200
        worker.holding("the model server: connection refused")
        assert get(port, "/healthz")[0] == 200
        status, _, text = get(port, "/readyz")
        assert (status, text) == (503, "waiting for the model server: connection refused\n")
        assert not_ready(worker.rows) == text.strip()


def test_a_stuck_one_is_told_by_its_status() -> None:
    worker = stats()
    worker.rows["polled_at"] = 1
    with serve_metrics(0, worker.rows) as port:
        assert get(port, "/healthz")[0] == 503
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/metrics")[0] == 200


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with serve_metrics(0, stats().rows) as port:
        with (
            pytest.raises(ScoringError, match=rf"--metrics_port={port}: .*choose another"),
            serve_metrics(port, stats().rows),
        ):
            pass
        assert get(port, "/healthz")[0] == 200


def test_afterwards_the_port_is_free() -> None:
    with serve_metrics(0, stats().rows) as port:
        pass
    with serve_metrics(port, stats().rows):
        pass
