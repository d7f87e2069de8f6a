"""The metrics, in Prometheus' text format 0.0.4 as its own grammar reads it, and as ``promtool`` judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.collector import registry_of
from pipeline.reporting.lag import Lag
from pipeline.telemetry.gen_ai import gen_ai_of
from transforms import errors
from transforms.errors import ModelError, OverloadedError, TransientError, UnavailableError
from transforms.observe import RollbackCause, failure_kind, failure_kinds
from transforms.types import Tokens

SAMPLE = re.compile(r"""([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? ([0-9.e+-]+)""")
LABEL = re.compile(r"""([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)",?""")
KINDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def parse(text: str) -> dict[tuple[str, ...], float]:
    """Reads the exposition format 0.0.4 strictly: a TYPE before each sample, families together, a line feed at the end.

    Returns:
        Name and values of the labels to the value.
    """
    assert text.endswith("\n")
    found: dict[tuple[str, ...], float] = {}
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
            assert (kind == "counter") == name.endswith("_total")
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in {family.removesuffix("_total") + end for end in KINDS[kinds[family]]}
            key = match[1], *(value for _, value in LABEL.findall(match[2] or ""))
            assert key not in found
            found[key] = float(match[3])
    return found


def stats() -> WorkerStats:
    worker = WorkerStats()
    worker.committed(7, {("decode", "Tombstone"): 2, ("predict", 'odd "\\\n'): 1}, [(0.005, 10)])
    worker.committed_after([0.02, 0.02, 7000.0], 0.5)
    worker.answered(6, 0.02, "3")
    worker.request_failed(OverloadedError("x"))
    worker.requesting(2, 16)
    worker.retried()
    worker.rolled_back("x", RollbackCause.REBALANCE)
    worker.assigned(["a/0", "a/1"])
    worker.polled()
    return worker


def text_of(worker: WorkerStats, lag: Lag | None = None) -> str:
    return generate_latest(registry_of(worker.rows, lambda: lag, "digits")).decode()


def test_the_lag_by_partition() -> None:
    found = parse(text_of(stats(), Lag({("in", 0): 5, ("in", 1): 0})))
    assert (found["scoring_lag_records", "0", "in"], found["scoring_lag_records", "1", "in"]) == (5, 0)
    assert "scoring_lag_records{" not in text_of(stats()), "while it is not known"


def test_what_is_rendered() -> None:
    found = parse(text_of(stats()))
    assert found["scoring_records_total",] == 10
    assert found["scoring_predictions_total",] == 7
    assert found["scoring_dead_letters_total", "Tombstone", "decode"] == 2
    assert found["scoring_dead_letters_total", r"odd \"\\\n", "predict"] == 1
    assert found["scoring_requests_total",] == 1
    assert found["scoring_request_failures_total", "Overloaded"] == 1
    assert found["scoring_retries_total",] == 1
    assert found["scoring_rollbacks_total", "rebalance"] == 1
    assert found["scoring_bundles_total",] == 1
    assert found["scoring_partitions",] == 2
    assert (found["scoring_requests_in_flight",], found["scoring_requests_in_flight_limit",]) == (2, 16)
    assert found["scoring_holding",] == 0
    assert found["scoring_model_info", "digits", "3"] == 1
    assert found["scoring_start_timestamp_seconds",] == pytest.approx(time.time(), abs=60)
    [build] = [key for key in found if key[0] == "scoring_build_info"]
    assert all(build)


def test_histograms_count_what_is_up_to_each_bound() -> None:
    found = parse(text_of(stats()))

    def histogram(name: str, *bounds: str) -> list[float]:
        return [*(found[f"scoring_{name}_bucket", bound] for bound in bounds), found[f"scoring_{name}_sum",]]

    assert histogram("latency_seconds", "0.0025", "0.005", "0.01", "+Inf") == [0, 10, 10, 10, pytest.approx(0.05)]
    assert histogram("request_duration_seconds", "0.01", "0.025", "+Inf") == [0, 1, 1, pytest.approx(0.02)]
    assert histogram("request_records", "4.0", "8.0", "+Inf") == [0, 1, 1, 6]
    ages = histogram("end_to_end_latency_seconds", "0.025", "3600.0", "21600.0", "+Inf")
    assert ages == [2, 2, 3, 3, pytest.approx(7000.04)]
    assert histogram("transaction_duration_seconds", "0.25", "0.5", "+Inf") == [0, 1, 1, 0.5]
    assert found["scoring_latency_seconds_count",] == 10


def test_a_language_model_has_metrics_by_the_names_of_opentelemetry() -> None:
    worker = stats()
    for tokens in (Tokens(20, 5), Tokens(2_000, None), Tokens(None, None)):
        worker.counted_tokens(tokens)
    labels = gen_ai_of("openai+https://llm/v1/qwen3?task=chat")
    assert labels == ("chat", "openai", "qwen3")
    found = parse(generate_latest(registry_of(worker.rows, gen_ai=labels)).decode())

    def usage(kind: str, what: str, *bound: str) -> float:
        return found[f"gen_ai_client_token_usage_{what}", "chat", "openai", "qwen3", kind, *bound]

    assert (usage("input", "count"), usage("input", "sum"), usage("output", "count"), usage("output", "sum")) == (
        2,
        2020,
        1,
        5,
    )
    assert [usage("input", "bucket", bound) for bound in ("16.0", "64.0", "1024.0", "4096.0")] == [0, 1, 1, 2]
    assert found["gen_ai_client_operation_duration_seconds_count", "chat", "openai", "qwen3"] == 1
    assert not [key for key in parse(text_of(worker)) if key[0].startswith("gen_ai")], "no other model has tokens"
    assert gen_ai_of("grpc://localhost:8500/digits") is None
    totals = Totals(worker.rows)
    assert totals.summary()["tokens"] == {"input": 2020, "output": 5}
    assert "tokens" not in Totals(stats().rows).summary()
    only_output = stats()
    only_output.counted_tokens(Tokens(None, 5))
    assert Totals(only_output.rows).summary()["tokens"] == {"input": 0, "output": 5}, "a server that counts nothing else"


def test_what_is_above_all_bounds_is_in_the_last_bucket() -> None:
    worker = WorkerStats()
    worker.committed(1, {}, [(1e9, 1)])
    worker.committed_after([], None)
    found = parse(text_of(worker))
    assert (found["scoring_latency_seconds_bucket", "120.0"], found["scoring_latency_seconds_bucket", "+Inf"]) == (0, 1)
    assert found["scoring_transaction_duration_seconds_count",] == 0, "without transactions"


def test_before_anything_happened() -> None:
    """Every counter is there, with each value of its labels: the first increase of one that was missing is not seen."""
    found = parse(text_of(WorkerStats()))
    always = {"scoring_build_info", "scoring_start_timestamp_seconds"}
    assert {value for key, value in found.items() if key[0] not in always} == {0}
    assert ("scoring_dead_letters_total", "InternalError", "encode") in found
    assert {key[1] for key in found if key[0] == "scoring_request_failures_total"} == set(failure_kinds())
    assert {key[1] for key in found if key[0] == "scoring_rollbacks_total"} == {cause.value for cause in RollbackCause}
    assert not [key for key in found if key[0] == "scoring_model_info"]


def test_it_says_when_it_holds_and_since_when() -> None:
    worker = stats()
    worker.holding("down")
    since = parse(text_of(worker))["scoring_holding_since_timestamp_seconds",]
    worker.holding("down for another reason")
    found = parse(text_of(worker))
    assert found["scoring_holding",] == 1
    assert found["scoring_holding_since_timestamp_seconds",] == since == pytest.approx(time.time(), abs=60)
    worker.holding(None)
    assert ("scoring_holding_since_timestamp_seconds",) not in parse(text_of(worker))


def test_workers_are_summed(tmp_path: Path) -> None:
    first, second = (WorkerStats(tmp_path / "stats", worker, 2) for worker in (0, 1))
    first.committed(3, {("decode", "Tombstone"): 1}, [(0.001, 4)])
    second.committed(4, {("decode", "Tombstone"): 2, ("predict", "Rejected"): 1}, [(0.001, 7)])
    second.assigned(["a/0"])
    first.answered(1, 0.1, "1")
    second.answered(1, 0.1, "2")
    WorkerStats(tmp_path / "stats", 1, 2)  # the successor of the second
    second.answered(1, 0.1, "2")
    found = parse(text_of(first))
    assert found["scoring_predictions_total",] == 7
    assert found["scoring_dead_letters_total", "Tombstone", "decode"] == 3
    assert found["scoring_dead_letters_total", "Rejected", "predict"] == 1
    assert found["scoring_partitions",] == 0
    assert found["scoring_latency_seconds_count",] == 11
    assert found["scoring_worker_restarts_total",] == 1
    assert {key[2] for key in found if key[0] == "scoring_model_info"} == {"1", "2"}, "while a version is replaced"


def test_the_kind_of_a_failure_is_one_of_a_closed_set() -> None:
    class OddError(UnavailableError):
        """One of another package's client."""

    assert failure_kind(OddError("x")) == "Unavailable"
    assert failure_kind(TransientError("x")) == "Transient"
    ours = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ModelError)}
    assert {f"{kind}Error" for kind in failure_kinds()} == ours


def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; Debian has it in the package prometheus")
    text = text_of(stats(), Lag({("in", 0): 5}))
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
