"""Prism compared with the DirectRunner: throughput with a 0 ms server, latency at 500 records/s, each ``--kafka_io``.

The first run downloads Prism's binary and the jars of Beam's Java transforms; its time does not count.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import latency, setting, throughput
from bench.report import Figure

SIDES = [setting.EXACTLY_ONCE, setting.PRISM_NATIVE, setting.PRISM_JAVA]


def measure(
    bootstrap: str, records: int, seconds: float, runs: int, pipeline_flags: tuple[str, ...], say: Callable[[str], None]
) -> list[Figure]:
    """Returns the figures of each side, ``runs`` times in turn.

    Raises:
        BenchmarkError: A side failed, or a record was not answered.
    """
    measured = throughput.measure(bootstrap, 0.0, SIDES, records, runs, pipeline_flags, say)
    return [*measured.values(), *latency.measure(bootstrap, SIDES[1:], seconds, runs, pipeline_flags, say)]
