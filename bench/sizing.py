"""The tables of ``docs/scaling.md``: what a rate needs, by formulas, from a few measured figures.

python -m bench.sizing
"""

from __future__ import annotations

import dataclasses
import math

from apache_beam.testing.load_tests import dataflow_cost_consts as prices

RATES = (1_000, 100_000, 1_000_000)
BATCH = 64
LATENCY_S = 0.020
HEADROOM = 0.5
"""How much of a measured rate is planned with: the rest is for bursts, rebalances, and catching up after a stop."""

RECORD_KB = 1.0
"""What a record is taken to be where Streaming Engine's charge depends on it."""

PARTITIONS_EACH = 4
"""Partitions for each process, so that a later one finds some to take over."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """One way to run the job.

    Attributes:
        name: What it is.
        measured: Records per second of ``cores`` cores, measured.
        cores: On which the broker and the model server's stub ran, too.
        worker_vcpus: Of one worker.
        worker_gb: Its memory.
        extra_vcpus: What runs beside the workers.
    """

    name: str
    measured: float
    cores: int
    worker_vcpus: int
    worker_gb: int
    extra_vcpus: int

    def workers(self, rate: int) -> int:
        """How many workers a rate needs; two at least, so that one may fail."""
        planned = self.measured / self.cores * HEADROOM
        return max(2, math.ceil(rate / planned / self.worker_vcpus))


PROCESSES = Engine("Processes (Kubernetes), native", 41_393, 2, 2, 4, 0)
FLINK = Engine("Flink, native", 20_000, 2, 2, 4, 1)
DATAFLOW = Engine("Dataflow, Beam's Java pair", 10_000, 2, 4, 16, 0)
"""Its figure is of Prism, without a model: on Dataflow itself nothing was measured."""

ENGINES = (PROCESSES, FLINK, DATAFLOW)


def tables() -> str:
    """Returns both tables as Markdown."""
    lines = [
        "| records/s | requests/s to the model servers | requests in flight |",
        "|---|---|---|",
        *(f"| {rate:,} | {math.ceil(rate / BATCH):,} | {math.ceil(rate / BATCH * LATENCY_S):,} |" for rate in RATES),
        "",
        "| | records/s | workers | vCPU, all | memory, all | partitions, at least | vCPU-hours a day |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine in ENGINES:
        for rate in RATES:
            workers = engine.workers(rate)
            vcpus = workers * engine.worker_vcpus + engine.extra_vcpus
            processes = workers * engine.worker_vcpus if engine is DATAFLOW else workers
            partitions = processes * PARTITIONS_EACH
            lines.append(
                f"| {engine.name} | {rate:,} | {workers:,} of {engine.worker_vcpus} vCPU, {engine.worker_gb} GB "
                f"| {vcpus:,} | {workers * engine.worker_gb:,} GB | {partitions:,} | {vcpus * 24:,} |"
            )
    lines += [
        "",
        "| Dataflow, records/s | workers, USD a day | Streaming Engine, USD a day, 1 KB records | together |",
        "|---|---|---|---|",
    ]
    for rate in RATES:
        compute, streaming = dataflow_usd_a_day(rate)
        lines.append(f"| {rate:,} | {compute:,.0f} | {streaming:,.0f} | {compute + streaming:,.0f} |")
    return "\n".join(lines)


def dataflow_usd_a_day(rate: int) -> tuple[float, float]:
    """What Dataflow asks for its workers, and for what goes through the batching stage, by Beam's list of prices."""
    workers = DATAFLOW.workers(rate)
    vcpu_hours, gb_hours = workers * DATAFLOW.worker_vcpus * 24, workers * DATAFLOW.worker_gb * 24
    compute = vcpu_hours * prices.VCPU_PER_HR_STREAMING + gb_hours * prices.MEM_PER_GB_HR_STREAMING
    return compute, rate * 86_400 * RECORD_KB / 1e6 * prices.SHUFFLE_PER_GB_STREAMING


if __name__ == "__main__":
    print(tables())
