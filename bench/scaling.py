"""Scaling: ``--workers`` 1, 2 and 4 with a model server that takes 20 ms, where throughput is limited by waiting.

The number of requests in flight in a process is fixed, so the server's latency limits it to ``in flight × batch / latency``
records a second. This benchmark checks that formula, which ``docs/scaling.md`` uses. All processes, the broker and the stub
share this machine's cores: a curve that flattens shows the limit of the cores, not of the pipeline.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from bench import setting
from bench.report import Figure
from bench.throughput import TIMEOUT_S, append_times
from tests import topics

WORKERS = (1, 2, 4)
LATENCY_MS = 20.0
BATCH = 64
IN_FLIGHT = 2
SECONDS = 8.0
"""Seconds that each run should take, at the rate of the formula."""

FROM, TO = 0.3, 0.9
"""The rate is taken between these quantiles of the append times: before, processes join; after, some have no records."""


def expected(workers: int) -> float:
    """Records per second that the server's latency allows."""
    return workers * IN_FLIGHT * BATCH / (LATENCY_MS / 1000)


def measure(bootstrap: str, runs: int, pipeline_flags: tuple[str, ...], say: Callable[[str], None]) -> list[Figure]:
    """Runs each number of workers ``runs`` times, in turn.

    Raises:
        BenchmarkError: A run failed, or its output has not every input exactly once.
    """
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    flags = (f"--batch_max_size={BATCH}", f"--max_in_flight={IN_FLIGHT}", *pipeline_flags)
    with setting.model_server(LATENCY_MS) as model:
        for _ in range(runs):
            for workers in WORKERS:
                rates[workers].append(_one(bootstrap, model, workers, flags))
                say(f"  {workers} workers: {rates[workers][-1]:,.0f} records/s, by the formula {expected(workers):,.0f}")
    single = statistics.median(rates[WORKERS[0]])
    return [
        Figure(
            f"{workers} workers, {LATENCY_MS:g} ms server, {IN_FLIGHT} requests of {BATCH} in flight each",
            statistics.median(found),
            "records/s",
            tuple(found),
            remark=f"{statistics.median(found) / single:.2f} × one worker; formula {expected(workers):,.0f}",
        )
        for workers, found in rates.items()
    ]


def _one(bootstrap: str, model: str, workers: int, flags: tuple[str, ...]) -> float:
    records = int(SECONDS * expected(workers))
    source = setting.new_topic(bootstrap, "input")
    output = setting.new_topic(bootstrap, "output", message_timestamp_type="LogAppendTime")
    topics.produce(bootstrap, source, setting.values(records), keys=(b"%08d" % i for i in range(records)))
    job = setting.Job(bootstrap, model, source, output, True, (*flags, f"--workers={workers}"))
    setting.run_to_end(job.command(setting.EXACTLY_ONCE), TIMEOUT_S)
    times, distinct = append_times(bootstrap, output)
    if len(times) != records or distinct != records:
        raise setting.BenchmarkError(f"{workers} workers: {records} in, {len(times)} out, of {distinct} sources")
    return rate(times)


def rate(times_ms: np.ndarray) -> float:
    """Records per second between the quantiles ``FROM`` and ``TO`` of the append times (sorted, milliseconds)."""
    first, last = int(len(times_ms) * FROM), int(len(times_ms) * TO) - 1
    return float((last - first) / max((times_ms[last] - times_ms[first]) / 1000, 1e-3))
