"""Counters in mapped memory: sums over workers, quantiles within 5%, and nothing lost when a worker is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.process.stats import Totals, WorkerStats, open_rows
from transforms.dead_letter import dead_letter
from transforms.observe import RollbackCause
from transforms.types import Failure, KafkaRecord, OutputRecord


def totals(*workers: WorkerStats) -> Totals:
    return Totals(np.concatenate([worker.rows for worker in workers]))


@given(st.lists(st.floats(0.02, 100_000), min_size=1, max_size=300), st.sampled_from((0.0, 0.5, 0.9, 0.99, 1.0)))
def test_quantiles_are_right_within_5_percent(latencies_ms: list[float], quantile: float) -> None:
    stats = WorkerStats()
    stats.committed(len(latencies_ms), {}, [(latency_ms / 1000, 1) for latency_ms in latencies_ms])
    exact = float(np.quantile(latencies_ms, quantile, method="inverted_cdf"))
    assert totals(stats).latency_ms(quantile) == pytest.approx(exact, rel=0.05, abs=0.001)


def test_quantiles_count_records_not_polls() -> None:
    stats = WorkerStats()
    stats.committed(100, {}, [(0.01, 99), (1.0, 1)])
    found = totals(stats)
    assert found.latency_ms(0.5) == pytest.approx(10, rel=0.05)
    assert found.latency_ms(0.99) == pytest.approx(10, rel=0.05)
    assert found.latency_ms(1.0) == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("latency_s", [0.0, -0.001, 1e-12, 1e9])
def test_a_latency_beyond_the_buckets_is_counted_all_the_same(latency_s: float) -> None:
    stats = WorkerStats()
    stats.committed(1, {}, [(latency_s, 1)])
    assert totals(stats).records == 1
    assert totals(stats).latency_ms(0.5) > 0


def dead(stage: str, name: str, message: str) -> OutputRecord:
    record = KafkaRecord("in", 0, 5, 5, None, b"secret", [("inference.error.message", b"of an earlier job")])
    return dead_letter(record, Failure(stage, name, message), "out.dead-letter")


def test_the_last_message_of_each_class_is_kept(tmp_path: Path) -> None:
    first, second = (WorkerStats(tmp_path / "stats", index, 2) for index in range(2))
    answered = OutputRecord("out", b"k", b"7", [], 5, ("in", 0, 1), None)
    first.committed(1, {("decode", "FieldError"): 2, ("decode", "Tombstone"): 1}, [(0.004, 4)])
    first.written(
        [
            dead("decode", "FieldError", "one"),
            dead("decode", "Tombstone", "null"),
            dead("decode", "FieldError", "two"),
            answered,
        ]
    )
    assert Totals(first.rows).messages == {"FieldError": "two", "Tombstone": "null"}
    second.committed(0, {("predict", "FieldError"): 1}, [(0.004, 1)])
    second.written([dead("predict", "FieldError", "é" * 200)])
    first.committed(1, {}, [(0.004, 1)])
    first.written([answered])
    messages = Totals(first.rows).messages
    assert messages == {"FieldError": "é" * 128, "Tombstone": "null"}, "of all workers, cut between characters"
    assert Totals(first.rows).reasons == {"FieldError": 3, "Tombstone": 1}


def test_outputs_that_nobody_shows_have_no_message() -> None:
    stats = WorkerStats()
    stats.committed(0, {("decode", "Tombstone"): 1}, [(0.004, 1)])
    assert Totals(stats.rows).messages == {}


def test_with_nothing_done_everything_is_zero() -> None:
    found = totals(WorkerStats())
    assert found.latency_ms(0.99) == found.records_per_s == found.mean_batch_size == found.duration_s == 0.0


def test_the_summary_has_the_contracts_fields() -> None:
    stats = WorkerStats()
    stats.committed(7, {("decode", "Tombstone"): 2, ("predict", "Rejected"): 1}, [(0.005, 10)])
    stats.committed(0, {}, [])
    stats.answered(4, 0.02, "3")
    stats.answered(2, 0.02, "3")
    stats.retried()
    stats.rolled_back("the group rebalanced", RollbackCause.REBALANCE)
    stats.left_unanswered(3)
    summary = totals(stats).summary()
    assert set(summary) >= {
        "records", "predictions", "dead_letters", "duration_s", "records_per_s", "latency_ms", "batches", "mean_batch_size",
        "retries",
    }  # fmt: skip
    assert set(summary["latency_ms"]) == {"p50", "p99"}
    assert (summary["records"], summary["predictions"], summary["dead_letters"]) == (10, 7, 3)
    assert summary["dead_letters_by_class"] == {"Rejected": 1, "Tombstone": 2}
    assert (summary["batches"], summary["mean_batch_size"], summary["retries"], summary["rollbacks"]) == (2, 3.0, 1, 1)
    assert summary["unanswered"] == 3
    assert (summary["bundles"], summary["duration_s"]) == (2, pytest.approx(0.005, abs=0.002))
    json.dumps(summary)


def test_totals_are_over_all_workers() -> None:
    first, second = WorkerStats(), WorkerStats()
    for number, stats in enumerate((first, second), 1):
        stats.committed(
            10 * number, {("decode", "X"): number, ("decode", f"only {number}"): 1}, [(number / 1000, 10 * number)]
        )
        stats.assigned(["in/0"] * number)
    found = totals(first, second)
    assert (found.predictions, found.dead_letters, found.partitions, found.bundles) == (30, 5, 3, 2)
    assert found.reasons == {"X": 3, "only 1": 1, "only 2": 1}
    second.holding("down")
    assert totals(first, second).holding == "down"
    second.holding(None)
    assert totals(first, second).holding == ""


def test_more_reasons_than_there_is_room_for_are_still_counted() -> None:
    stats = WorkerStats()
    long = "a name longer than sixty-four bytes with its stage, and then some more"
    for number in range(100):
        stats.committed(0, {("decode", f"class {number}"): 1, ("decode", long): 1}, [(0.001, 2)])
    assert totals(stats).dead_letters == sum(totals(stats).reasons.values()) == 200


def test_long_and_strange_texts_fit() -> None:
    stats = WorkerStats()
    stats.holding("ü" * 1000)
    stats.rolled_back("\ud800", RollbackCause.REBALANCE)
    assert totals(stats).holding.startswith("üüü")


# ---------------------------------------------------------------------- the file


def work(path: Path, worker: int, bundles: int) -> None:
    stats = WorkerStats(path, worker, 3)
    for _ in range(bundles):
        stats.committed(5, {("decode", "X"): 1}, [(0.002, 6)])
        stats.answered(6, 0.02, "3")
    stats.holding("down")
    stats.assigned(["in/0", "in/1"])
    os.kill(os.getpid(), signal.SIGKILL)


def run(path: Path, worker: int, bundles: int) -> None:
    process = multiprocessing.get_context("fork").Process(target=work, args=(path, worker, bundles))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_worker_did_stays_counted_and_its_successor_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    rows = open_rows(path, 3)
    run(path, 0, 10)
    run(path, 2, 1)
    run(path, 0, 100)
    found = Totals(rows)
    assert (found.predictions, found.dead_letters, found.bundles, found.batched_rows) == (555, 111, 111, 666)
    assert found.reasons == {"X": 111}
    assert found.records_per_s > 0


def test_a_successor_is_not_taken_for_waiting_or_reading_what_the_killed_one_did(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    rows = open_rows(path, 3)
    run(path, 1, 1)
    assert (Totals(rows).holding, Totals(rows).partitions) == ("down", 2)
    WorkerStats(path, 1, 3)
    assert (Totals(rows).holding, Totals(rows).partitions) == ("", 0)


def test_two_threads_report_and_nothing_is_lost() -> None:
    """The bundle's thread commits, the request loop's answers and retries."""
    stats = WorkerStats()

    def report() -> None:
        for _ in range(5_000):
            stats.answered(2, 0.02, "3")
            stats.retried()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(1_000):
        stats.committed(1, {}, [(0.001, 1)])
    for thread in threads:
        thread.join()
    found = totals(stats)
    assert (found.batches, found.batched_rows, found.retries, found.predictions) == (20_000, 40_000, 20_000, 1_000)
