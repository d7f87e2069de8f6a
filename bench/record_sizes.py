"""Measures what a worker process takes at most, by the size of the records, and while it holds for a server that is away.

    python -m bench.record_sizes [--sizes 150,9000,50000,300000,990000] [--megabytes 150] [--memory_mb 256]

Prints the highest resident set (RSS) of each run; exit status 1 if one is above ``--memory_mb`` and ``SLACK_MB``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import orjson

from bench import setting
from bench.memory import resident_mb
from bench.report import Figure, table
from bench.throughput import append_times
from tests import topics
from tests.kafka_broker import KafkaBroker
from transforms.memory import DEFAULT_MB

SIZES = (150, 9_000, 50_000, 300_000, 990_000)
"""Bytes of a record. The last ones are near Kafka's default of the most that a topic takes."""

SLACK_MB = 44
"""What a run may take above ``--memory_mb``: allocators keep some of what was freed."""

MOST_RECORDS = 200_000
"""Of small records a topic has no more than this."""

WIDE = 1_000
"""Records from this size on have more numbers than the model of the other benchmarks takes."""

SAMPLE_S = 0.05
HOLD_S = 20.0
TIMEOUT_S = 600.0


def values(size: int) -> list[bytes]:
    """Some JSON records of about ``size`` bytes, ``{"x": […]}``, of 16 floats or more."""
    number = random.Random(size).random
    floats = max(16, (size - 8) // 9)
    return [orjson.dumps({"x": [round(number(), 6) for _ in range(floats)]}) for _ in range(8)]


def preload(bootstrap: str, size: int, megabytes: int) -> tuple[str, int]:
    """Makes a topic with records of ``size`` bytes; returns its name and how many."""
    several = values(size)
    count = min(MOST_RECORDS, megabytes * 1_000_000 // size)
    name = setting.new_topic(bootstrap, "input")
    for start in range(0, count, step := max(20, 20_000_000 // size)):  # what it queues at a time is bounded
        numbers = range(start, min(count, start + step))
        topics.produce(bootstrap, name, (several[n % len(several)] for n in numbers), keys=(b"%08d" % n for n in numbers))
    return name, count


def highest(process: subprocess.Popen[bytes], seconds: float) -> float:
    """The highest resident set of a process until it ends, or for so many seconds, in MB."""
    most, ends_at = 0.0, time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < ends_at:
        with contextlib.suppress(setting.BenchmarkError, OSError):  # it has just ended
            most = max(most, resident_mb(process.pid))
        time.sleep(SAMPLE_S)
    return most


def measure(bootstrap: str, size: int, megabytes: int, flags: tuple[str, ...]) -> tuple[float, float]:
    """Returns the highest resident set while a backlog is read to its end, and while the server is away.

    Raises:
        BenchmarkError: Not every record has one output, or the job ended while it had to hold.
    """
    source, count = preload(bootstrap, size, megabytes)
    width = setting.FLOATS if size < WIDE else -1
    output = setting.new_topic(bootstrap, "output")
    with contextlib.ExitStack() as server:
        model = server.enter_context(setting.model_server(0, width))
        made = setting.Job(bootstrap, model, source, output, True, flags)
        with setting.running(made.command(setting.EXACTLY_ONCE)) as process:
            reading = highest(process, TIMEOUT_S)
        _, distinct = append_times(bootstrap, output)
        if distinct != count:
            raise setting.BenchmarkError(f"{size} bytes: {count} records, {distinct} of them have an output")
        output = setting.new_topic(bootstrap, "output")
        made = setting.Job(bootstrap, model, source, output, False, flags)
        with setting.running(made.command(setting.EXACTLY_ONCE)) as process:
            deadline = time.monotonic() + TIMEOUT_S
            while not any(topics.end_offsets(bootstrap, output).values()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise setting.BenchmarkError(f"{size} bytes: no output (status {process.poll()})")
                time.sleep(SAMPLE_S)
            server.close()
            holding = highest(process, HOLD_S)
            if process.poll() is not None:
                raise setting.BenchmarkError(f"{size} bytes: the job did not hold, but ended")
    return reading, holding


def figures(
    bootstrap: str, sizes: Sequence[int], megabytes: int, memory_mb: int, flags: tuple[str, ...]
) -> Iterator[Figure]:
    """Measures each size in turn."""
    flags = (f"--memory_mb={memory_mb}", *flags)
    for size in sizes:
        found = measure(bootstrap, size, megabytes, flags)
        for what, most in zip(("a backlog", "holding"), found, strict=True):
            yield Figure(f"{size:,} B a record, {what}", most, "MB", at_most=memory_mb + SLACK_MB)


def main() -> int:
    """Parses the flags, measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.record_sizes")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="bytes of a record")
    parser.add_argument("--megabytes", type=int, default=150, help="of records in the topic")
    parser.add_argument("--memory_mb", type=int, default=DEFAULT_MB)
    parser.add_argument("--pipeline_flag", action="append", default=[], help="a further flag for the pipeline (repeatable)")
    args = parser.parse_args()
    sizes, flags = [int(size) for size in args.sizes.split(",")], tuple(args.pipeline_flag)
    print(f"load average {os.getloadavg()[0]:.1f} at the start", flush=True)
    with KafkaBroker() as broker:
        found = []
        for figure in figures(broker.bootstrap, sizes, args.megabytes, args.memory_mb, flags):
            found.append(figure)
            print(f"  {figure.name}: {figure.value:.0f} MB", flush=True)
    print(table(found))
    return 0 if all(figure.passed for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
