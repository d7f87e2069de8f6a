"""``--kafka_io=native`` on a Flink cluster compared with the DirectRunner: latency and throughput.

Two task managers, the job manager and the job server share the machine with the pipeline, so they take processor time from
it. On a cluster with machines of its own they would not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bench import latency, setting, throughput
from bench.report import Figure
from tests.flink_cluster import FlinkCluster

SHARDS = (1, 2)


def measure(
    bootstrap: str, records: int, runs: int, seconds: float, pipeline_flags: tuple[str, ...], say: Callable[[str], None]
) -> list[Figure]:
    """Returns p50 and p99 at 500 records/s, and records/s of a backlog, with a 0 ms server, exactly once.

    Raises:
        BenchmarkError: A run failed, or did not answer every record.
    """
    figures = []
    throughput.warm_up(bootstrap, records, pipeline_flags)
    sides = [setting.EXACTLY_ONCE]
    with FlinkCluster() as cluster:
        runners: dict[str, tuple[str, ...]] = {"DirectRunner": ()}
        for count in SHARDS:
            runners[f"Flink, --parallelism={count}"] = (*cluster.flags, f"--parallelism={count}")
        for name, flags in runners.items():
            say(f"  {name}:")
            found = latency.measure(bootstrap, sides, seconds, 1, (*flags, *pipeline_flags), say)
            found += throughput.measure(bootstrap, 0.0, sides, records, runs, (*flags, *pipeline_flags), say).values()
            figures += [dataclasses.replace(figure, name=f"{name}: {figure.name}", at_most=None) for figure in found]
    return figures
