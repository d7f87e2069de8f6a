"""The benchmarks' arithmetic: figures that decide must not be flattered by how they are computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import latency, memory, poison, scaling, sizing, throughput, transaction
from bench.report import Figure, median_of, table, write_json
from bench.setting import BenchmarkError, run_to_end


def test_bursts_give_the_rate_of_the_bundles_that_made_them() -> None:
    """50 bundles of 8,000 records, one a second, each written in 20 ms: 8,000 records/s, to within one bundle in 45."""
    bundle = np.arange(8000) * 20 // 8000
    times = np.concatenate([1000 * i + bundle for i in range(50)])
    assert throughput.rate(times) == pytest.approx(8000, rel=0.023)


def test_start_and_end_of_a_run_do_not_count() -> None:
    """A slow first and last twentieth leave the rate as it is."""
    times = np.arange(100_000)
    times[5_000:] += 60_000
    times[96_000:] += 60_000
    assert throughput.rate(times) == pytest.approx(1000, rel=0.001)


def test_the_document_on_scaling_has_the_tables_as_computed() -> None:
    """Else: python -m bench.sizing, into docs/scaling.md."""
    text = Path(__file__).parents[1].joinpath("docs", "scaling.md").read_text(encoding="utf-8")
    for table_of in sizing.tables().split("\n\n"):
        assert table_of in text


def test_a_rate_needs_at_least_two_workers_and_then_in_proportion() -> None:
    """Half of what was measured is planned with."""
    runner = sizing.Runner("e", 40_000, 2, 2, 4, 0)
    assert runner.workers(1) == 2
    assert runner.workers(100_000) == 5
    assert runner.workers(1_000_000) == 50


def test_scaling_is_held_against_the_formula() -> None:
    """In flight × batch / latency for each process; processes that join late or end early do not count."""
    assert scaling.expected(1) == 2 * 64 / 0.020
    assert scaling.expected(4) == 4 * scaling.expected(1)
    times = np.arange(100_000)
    times[25_000:] += 60_000
    times[95_000:] += 60_000
    assert scaling.rate(times) == pytest.approx(1000, rel=0.001)


def test_latency_is_of_the_last_records_sent() -> None:
    """The warm-up is dropped by the time of sending, whatever the order of arrival."""
    millisecond = 1_000_000
    arrivals = [(i * millisecond, (i + 10) * millisecond) for i in range(100, 200)]
    warm_up = [(i * millisecond, (i + 5000) * millisecond) for i in range(100)]
    assert latency.percentiles(arrivals + warm_up, 100) == pytest.approx((10, 10, 10))


def test_memory_that_grows_fails_and_memory_that_is_flat_passes() -> None:
    """Growth before the warm-up's end is allowed; 6% after it is not."""
    flat = [(i, 100.0 if i < 1000 else 200.0) for i in range(0, 20_001, 100)]
    growing = [(i, 200 + 12 * i / 18_000) for i in range(0, 20_001, 100)]
    assert memory.verdict(flat).passed
    assert not memory.verdict(growing).passed
    with pytest.raises(BenchmarkError, match="too few samples"):
        memory.verdict([(10, 100.0)])


def test_the_table_and_the_json_say_pass_and_fail(tmp_path: Path) -> None:
    """Each target has its verdict; a figure without one has none."""
    figures = [
        median_of("share", [0.5, 2.0, 0.8], "×", at_least=1.0),
        median_of("p50", [14.0], "ms", at_most=15.0),
        Figure("rate", 50_000, "records/s"),
    ]
    assert [figure.passed for figure in figures] == [False, True, None]
    lines = table(figures).splitlines()
    assert "0.80" in lines[1]
    assert "FAIL" in lines[1]
    assert "pass" in lines[2]
    path = tmp_path / "deep" / "bench.json"
    write_json(path, {"cores": 2}, {"runs": "3"}, figures)
    assert [row["passed"] for row in json.loads(path.read_text())["figures"]] == [False, True, None]


def test_a_side_that_fails_gives_no_figure() -> None:
    """The end of its output is in the error."""
    with pytest.raises(BenchmarkError, match=r"(?s)status 3.*broken"):
        run_to_end(["sh", "-c", "echo broken; exit 3"], 10)


def test_kinds_of_guilty_rows_are_all_there_or_refused() -> None:
    """A kind that nobody knows had measured nothing, without a word, and so had "all"."""
    assert poison.named([]) == poison.named(["all"]) == poison.KINDS
    assert [kind.name for kind in poison.named(["HTTP 500", "INTERNAL"])] == ["HTTP 500", "INTERNAL"]
    with pytest.raises(BenchmarkError, match="--kind=INTERNALS: give all, or one of INVALID_ARGUMENT, INTERNAL, "):
        poison.named(["INTERNAL", "INTERNALS"])


PROTOCOL = """\
RECV [thrd:x]: TxnCoordinator/1: Received AddPartitionsToTxnResponse (v0, 60 bytes, CorrId 5, rtt 1.50ms)
SEND [thrd:x]: 127.0.0.1:9092/1: Sent ProduceRequest (v10, 410 bytes @ 0, CorrId 6)
RECV [thrd:x]: 127.0.0.1:9092/1: Received ProduceResponse (v10, 60 bytes, CorrId 6, rtt 2.00ms)
RECV [thrd:x]: 127.0.0.1:9092/1: Received ProduceResponse (v10, 60 bytes, CorrId 7, rtt 4.00ms)
RECV [thrd:x]: 127.0.0.1:9092/1: Received FetchResponse (v16, 60 bytes, CorrId 8, rtt 500.00ms)
RECV [thrd:x]: TxnCoordinator/1: Received EndTxnResponse (v1, 60 bytes, CorrId 9, rtt 0.80ms)
RECV [thrd:x]: TxnCoordinator/1: Received EndTxnResponse (v1, 60 bytes, CorrId 10, rtt 1.00ms)
"""


def test_a_transaction_costs_what_librdkafka_logs_of_it() -> None:
    said: list[str] = []
    figures = transaction.figures_of(PROTOCOL.splitlines(), said.append)
    assert [(figure.name, figure.value, figure.remark) for figure in figures] == [
        ("AddPartitionsToTxn", 1.5, "0.50 a transaction"),
        ("Produce", 3.0, "1.00 a transaction"),
        ("EndTxn", 0.9, "1.00 a transaction"),
    ]
    assert said == ["  2 transactions; AddPartitionsToTxn v0, Produce v10, EndTxn v1"]


def test_a_log_without_a_transaction_gives_no_figure() -> None:
    with pytest.raises(BenchmarkError, match="no transaction"):
        transaction.figures_of(PROTOCOL.splitlines()[:5], lambda line: None)
