"""Latency at 500 records/s: from when a record was due to be sent to its receipt by a ``read_committed`` consumer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench import setting
from bench.load import Receiver, Sender, wait_for_all, wait_for_first
from bench.report import Figure, median_of

RATE = 500
WARM_UP_S = 15.0
"""Meanwhile the broker's JVM compiles its code for transactions, which takes twice as long in the first seconds."""
START_TIMEOUT_S = 150
TARGETS_MS = {setting.EXACTLY_ONCE: (15.0, 50.0), setting.AT_LEAST_ONCE: (10.0, 25.0)}
"""Targets of p50 and p99: at most so many milliseconds."""


def measure(
    bootstrap: str,
    sides: Sequence[str],
    seconds: float,
    runs: int,
    pipeline_flags: tuple[str, ...],
    say: Callable[[str], None],
) -> list[Figure]:
    """Returns p50 and p99 of each side with a 0 ms server, ``runs`` times in turn; the first 15 s are dropped.

    Raises:
        BenchmarkError: A side failed, or a record was not answered.
    """
    results: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    values = setting.values(1000)
    with setting.model_server(0) as model:
        for _ in range(runs):
            for side in sides:
                source, output = setting.new_topic(bootstrap, "input"), setting.new_topic(bootstrap, "output")
                job = setting.Job(bootstrap, model, source, output, False, pipeline_flags)
                sender = Sender(bootstrap, source, values)
                with Receiver(bootstrap, output) as receiver, setting.running(job.command(side)) as process:
                    wait_for_first(sender, receiver, process, START_TIMEOUT_S)
                    wait_for_all(sender, receiver, 10)
                    sender.run(RATE, WARM_UP_S)
                    before = sender.sent
                    late_ms = sender.run(RATE, seconds)
                    wait_for_all(sender, receiver, 10)
                p50, p99, most = percentiles(receiver.arrivals, sender.sent - before)
                results[side].append((p50, p99))
                say(f"  {side}: p50 {p50:.1f} ms, p99 {p99:.1f}, most {most:.1f} ms (sender late by {late_ms:.1f} at most)")
    figures = []
    for side, pairs in results.items():
        for index, quantile in enumerate(("p50", "p99")):
            target = TARGETS_MS.get(side, (None, None))[index]
            values_ms = [pair[index] for pair in pairs]
            figures.append(median_of(f"{side}, {RATE} records/s, {quantile}", values_ms, "ms", at_most=target))
    return figures


def percentiles(arrivals: Sequence[tuple[int, int]], last: int) -> tuple[float, float, float]:
    """p50, p99 and the most, in milliseconds, of the ``last`` records sent."""
    kept = np.array(sorted(arrivals)[-last:], dtype=np.int64)  # shape [last, 2]: sent, received
    latencies_ms = (kept[:, 1] - kept[:, 0]) / 1e6
    return float(np.quantile(latencies_ms, 0.5)), float(np.quantile(latencies_ms, 0.99)), float(latencies_ms.max())
