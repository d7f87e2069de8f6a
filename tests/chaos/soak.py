"""``make soak``: one process scores for a long time under random faults, and must not grow or get slower.

    python -m tests.chaos.soak --minutes=60

A step writes some records and waits until all are committed; every fourth step has a fault of the model server. The steps
without a fault are compared by quarters of the run: the last one with the second one, as the first one warms up.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import servers
from tests.chaos.report import Run
from tests.chaos.scenario import FLAGS
from tests.chaos.stream import GOES_ON_S, Stream
from tests.integration.process import Scoring, job_factory, wait_until
from tests.kafka_broker import KafkaBroker
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

STEP_RECORDS = 2_000
FAULT_EVERY = 4
FAULTS = (servers.restart, servers.hang, servers.overloaded, servers.cut, servers.wrong_rows, servers.another_version)
TOLD_EVERY_S = 30.0

RSS_GROWTH, RSS_SPARE_MB = 1.1, 20.0
MORE_FILES = MORE_THREADS = 8
SLOWER, SLOWER_SPARE_S = 1.5, 0.5


@dataclasses.dataclass(frozen=True)
class Sample:
    """The process after a step without a fault.

    Attributes:
        step_s: Seconds from the first record's being written to the last one's commit.
        rss_mb: Resident memory.
        files: Open file descriptors.
        threads: Threads.
    """

    step_s: float
    rss_mb: float
    files: int
    threads: int


def sample(process: Scoring, step_s: float) -> Sample:
    """Looks at a process by /proc."""
    folder = Path(f"/proc/{process.pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    rss_kb, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
    return Sample(step_s, rss_kb / 1024, len(list((folder / "fd").iterdir())), threads)


def quarters(samples: Sequence[Sample]) -> list[Sample]:
    """The medians of each quarter; of times and memory, and the most files and threads."""
    size = len(samples) // 4
    parts = [samples[size * index : size * (index + 1)] for index in range(4)]
    return [
        Sample(
            statistics.median(it.step_s for it in part),
            statistics.median(it.rss_mb for it in part),
            max(it.files for it in part),
            max(it.threads for it in part),
        )
        for part in parts
    ]


def grown(parts: Sequence[Sample]) -> list[str]:
    """What the last quarter has more of than the second one, in words."""
    early, late = parts[1], parts[3]
    found = []
    if late.rss_mb > early.rss_mb * RSS_GROWTH + RSS_SPARE_MB:
        found.append(f"memory grew from {early.rss_mb:.0f} to {late.rss_mb:.0f} MB")
    if late.files > early.files + MORE_FILES:
        found.append(f"open files grew from {early.files} to {late.files}")
    if late.threads > early.threads + MORE_THREADS:
        found.append(f"threads grew from {early.threads} to {late.threads}")
    if late.step_s > early.step_s * SLOWER + SLOWER_SPARE_S:
        found.append(f"a step took {late.step_s:.1f} s after {early.step_s:.1f} s")
    return found


def soak(stream: Stream, minutes: float) -> list[Sample]:
    """Runs one process for so long, and leaves it drained."""
    stream.stub.faults.latency_s = 0.01
    process = stream.job.start(*FLAGS, "--request_timeout_ms=2000")
    samples: list[Sample] = []
    began = told = time.monotonic()
    steps = 0
    while time.monotonic() < began + 60 * minutes:
        steps += 1
        if faulty := steps % FAULT_EVERY == 0:
            stream.faults += 1
            stream.rng.choice(FAULTS)(stream)
        step_began = time.monotonic()
        stream.fill(STEP_RECORDS)
        wait_until(lambda: stream.left() <= 0, "commit of everything", GOES_ON_S, process)
        if not faulty:
            samples.append(sample(process, time.monotonic() - step_began))
        if time.monotonic() > told + TOLD_EVERY_S:
            told = time.monotonic()
            last = samples[-1]
            stream.say(
                f"{stream.records:,} records, {stream.faults} faults; {last.rss_mb:.0f} MB, {last.files} files, "
                f"{last.threads} threads, {last.step_s:.1f} s a step"
            )
    stream.drain(process)
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Soaks; returns 1 if something grew or a record was not answered as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description="A long run under random faults.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the random choices of a run")
    args = parser.parse_args(arguments)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    print(Run.now(seed, f"{args.minutes:g}-minute"), flush=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {text}", flush=True)

    with KafkaBroker() as broker, job_factory(broker.bootstrap, show=False) as new_job, TfServingGrpcStub() as stub:
        job = new_job(stub.uri(), partitions=3)
        stream = Stream(job, stub, random.Random(seed), exactly_once=True, say=say)
        samples = soak(stream, args.minutes)
        verdict = stream.verdict()
    print(f"{'held' if verdict.ok(exactly_once=True) else 'BROKEN'}: {verdict}, {stream.faults} faults")
    if len(samples) < 8:
        print(f"{len(samples)} steps are too few to compare: more --minutes")
        return 2
    parts = quarters(samples)
    print("quarter   MB  files  threads  seconds a step")
    for number, part in enumerate(parts, 1):
        print(f"{number:7} {part.rss_mb:4.0f} {part.files:6} {part.threads:8} {part.step_s:15.2f}")
    found = grown(parts)
    print(f"NOT FLAT: {'; '.join(found)}" if found else "flat: memory, open files, threads and the time of a step")
    return int(bool(found) or not verdict.ok(exactly_once=True))


if __name__ == "__main__":
    sys.exit(main())
