"""Computes the tables of ``docs/scaling.md``: the resources that a rate needs, from a few measured figures.

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
"""Share of a measured rate to plan with. The rest is for bursts, rebalances, and catching up after a stop."""

RECORD_KB = 1.0
"""Size of a record in KB that is assumed for the charge of Streaming Engine."""

PARTITIONS_EACH = 4
"""Partitions for each process, so that processes added later get some."""


@dataclasses.dataclass(frozen=True)
class Runner:
    """One way to run the job.

    Attributes:
        name: The runner and the implementation of Kafka.
        measured: Records per second, measured on ``cores`` cores.
        cores: Cores of that measurement. The broker and the model server's stub ran on them, too.
        worker_vcpus: vCPUs of one worker.
        worker_gb: Memory of one worker in GB.
        extra_vcpus: vCPUs for processes other than workers.
    """

    name: str
    measured: float
    cores: int
    worker_vcpus: int
    worker_gb: int
    extra_vcpus: int

    def workers(self, rate: int) -> int:
        """Returns how many workers a rate needs, at least two, so that one may fail."""
        planned = self.measured / self.cores * HEADROOM
        return max(2, math.ceil(rate / planned / self.worker_vcpus))


PROCESSES = Runner("Processes (Kubernetes), native", 41_393, 2, 2, 4, 0)
FLINK = Runner("Flink, native", 20_000, 2, 2, 4, 1)
DATAFLOW = Runner("Dataflow, Beam's Java pair", 10_000, 2, 4, 16, 0)
"""The figure was measured on Prism, without a model. Nothing was measured on Dataflow itself."""

DATAFLOW_NATIVE = Runner("Dataflow, native", 20_000, 2, 4, 16, 0)
"""Planned with Flink's figure, whose source is the same loop of timers."""

RUNNERS = (PROCESSES, FLINK, DATAFLOW_NATIVE, DATAFLOW)

TIMERS_S = 20
"""Bundles a second of each shard, at most, that are assumed for the charge of Streaming Engine: 50 ms for a commit."""

TIMER_KB = 1.0
"""What Streaming Engine is assumed to count for the timer of a bundle. No record goes through it."""

SHARDS_EACH = 4
"""Shards for each worker, as ``pipeline.runners.moving_shards`` has them."""


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
    for runner in RUNNERS:
        for rate in RATES:
            workers = runner.workers(rate)
            vcpus = workers * runner.worker_vcpus + runner.extra_vcpus
            processes = workers * runner.worker_vcpus if runner in (DATAFLOW, DATAFLOW_NATIVE) else workers
            partitions = processes * PARTITIONS_EACH
            lines.append(
                f"| {runner.name} | {rate:,} | {workers:,} of {runner.worker_vcpus} vCPU, {runner.worker_gb} GB "
                f"| {vcpus:,} | {workers * runner.worker_gb:,} GB | {partitions:,} | {vcpus * 24:,} |"
            )
    lines += [
        "",
        "| | records/s | workers, USD a day | Streaming Engine, USD a day, 1 KB records | together |",
        "|---|---|---|---|---|",
    ]
    for runner in (DATAFLOW_NATIVE, DATAFLOW):
        for rate in RATES:
            compute, streaming = dataflow_usd_a_day(runner, rate)
            lines.append(f"| {runner.name} | {rate:,} | {compute:,.0f} | {streaming:,.0f} | {compute + streaming:,.0f} |")
    return "\n".join(lines)


def dataflow_usd_a_day(runner: Runner, rate: int) -> tuple[float, float]:
    """Returns Dataflow's price of the workers and of what goes through Streaming Engine, by Beam's list of prices.

    That is, with Beam's Java pair, each record through the batching stage; with the native source the shards' timers.
    """
    workers = runner.workers(rate)
    vcpu_hours, gb_hours = workers * runner.worker_vcpus * 24, workers * runner.worker_gb * 24
    kb_a_second = workers * SHARDS_EACH * TIMERS_S * TIMER_KB if runner is DATAFLOW_NATIVE else rate * RECORD_KB
    compute = vcpu_hours * prices.VCPU_PER_HR_STREAMING + gb_hours * prices.MEM_PER_GB_HR_STREAMING
    return compute, kb_a_second * 86_400 / 1e6 * prices.SHUFFLE_PER_GB_STREAMING


if __name__ == "__main__":
    print(tables())
