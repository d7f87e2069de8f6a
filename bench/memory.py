"""Measures whether the pipeline's memory grows: its resident set (RSS) over 20,000 bundles under steady load.

    python -m bench.memory [--bundles 20000] [--delivery exactly_once]

Prints what it measures and a verdict; exit status 1 if the memory grew by more than 5% after the warm-up.

The bundles are counted in Kafka, not by the pipeline. Every transaction leaves a marker in the only output partition, and
every commit outside a transaction leaves a record in ``__consumer_offsets``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench import setting
from bench.load import Receiver, Sender, wait_for_all, wait_for_first
from bench.report import Figure, table
from tests import topics
from tests.kafka_broker import KafkaBroker

LIMIT = 0.05
WARM_UP = 0.1
SAMPLE_S = 1.0
TIMEOUT_S = 3600

Sample = tuple[int, float]
"""Bundles so far, and the resident set in MB."""


def measure(
    bootstrap: str, bundles: int, delivery: str, per_second: float, flags: tuple[str, ...]
) -> tuple[list[Sample], int | None]:
    """Runs a pipeline under load until it has committed ``bundles`` bundles.

    Returns:
        The samples, and the number of bundles by the pipeline's own summary, if that has it.

    Raises:
        BenchmarkError: The pipeline failed, did not keep up with the load, or took more than an hour.
    """
    side = setting.EXACTLY_ONCE if delivery == "exactly_once" else setting.AT_LEAST_ONCE
    source, output = setting.new_topic(bootstrap, "input", 1), setting.new_topic(bootstrap, "output", 1)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as directory, setting.model_server(0) as model:
        summary = Path(directory) / "summary.json"
        job = setting.Job(bootstrap, model, source, output, False, flags, summary)
        sender = Sender(bootstrap, source, setting.values(1000))
        with Receiver(bootstrap, output) as receiver, setting.running(job.command(side)) as process:
            wait_for_first(sender, receiver, process, 90)
            loading = threading.Thread(target=sender.run, args=(per_second, TIMEOUT_S), daemon=True)
            loading.start()
            deadline = time.monotonic() + TIMEOUT_S
            while not samples or samples[-1][0] < bundles:
                if process.poll() is not None or not loading.is_alive() or time.monotonic() > deadline:
                    raise setting.BenchmarkError(f"ended after {samples[-1:]} (status {process.poll()})")
                samples.append((count_bundles(bootstrap, output, receiver, side), resident_mb(process.pid)))
                if len(samples) % 30 == 0:
                    print(f"  {samples[-1][0]:,} bundles, {samples[-1][1]:.1f} MB", flush=True)
                time.sleep(SAMPLE_S)
            sender.stop()
            loading.join()
            wait_for_all(sender, receiver, 30)
        own = setting.read_summary(summary).get("bundles")
    return samples, own


def count_bundles(bootstrap: str, output: str, receiver: Receiver, side: str) -> int:
    """Counts the committed bundles by their traces in Kafka. The error is at most the records in flight."""
    if side == setting.EXACTLY_ONCE:
        return topics.end_offsets(bootstrap, output)[0] - len(receiver.arrivals)
    return sum(topics.end_offsets(bootstrap, "__consumer_offsets", "read_uncommitted").values())


def resident_mb(pid: int) -> float:
    """The resident set of a process, in MB (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise setting.BenchmarkError(f"process {pid} has no VmRSS: it has ended")


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """The median resident set in the first and in the last tenth of the bundles after the warm-up, in MB."""
    total = samples[-1][0]
    early = [mb for bundles, mb in samples if WARM_UP * total <= bundles < 2 * WARM_UP * total]
    late = [mb for bundles, mb in samples if bundles >= (1 - WARM_UP) * total]
    if not early or not late:
        raise setting.BenchmarkError("too few samples: ask for more bundles")
    return statistics.median(early), statistics.median(late)


def verdict(samples: Sequence[Sample]) -> Figure:
    """The growth after the warm-up, in per cent, with its target."""
    early, late = growth(samples)
    remark = (
        f"{early:.1f} MB → {late:.1f} MB, at most {max(mb for _, mb in samples):.1f} MB, over {samples[-1][0]:,} bundles"
    )
    return Figure("growth of the resident set", 100 * (late / early - 1), "%", at_most=100 * LIMIT, remark=remark)


def main() -> int:
    """Parses the flags, measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory")
    parser.add_argument("--bundles", type=int, default=20_000)
    parser.add_argument("--delivery", choices=("exactly_once", "at_least_once"), default="exactly_once")
    parser.add_argument("--rate", type=float, default=500, help="records a second")
    parser.add_argument("--pipeline_flag", action="append", default=[], help="a further flag for the pipeline (repeatable)")
    args = parser.parse_args()
    with KafkaBroker() as broker:
        samples, own = measure(broker.bootstrap, args.bundles, args.delivery, args.rate, tuple(args.pipeline_flag))
    figure = verdict(samples)
    print(table([figure]))
    if own is not None:
        print(f"The pipeline's own count of its bundles: {own:,}")
    return 0 if figure.passed else 1


if __name__ == "__main__":
    sys.exit(main())
