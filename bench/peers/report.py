"""The page that a run writes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import latency, setting
from bench.peers.measure import Backlog, Steady
from bench.peers.programs import BY_KEY, HANDWRITTEN, Program, reference_of

TARGETS = {0.0: (1.0, 1.5), 20.0: (1.1, 2.0), 200.0: (2.0, 10.0)}
"""Latency of a request in ms to what ours is to be of the hand-written consumer, and of the fastest that keeps the order."""

_HEAD = """\
# Benchmarks against other ways

This page is written by a run of `{command}`.

Each side scores the same topic of {partitions} partitions: {records:,} JSON records of {width} floats, with keys by Zipf's
law (10,000 of them), read from a real Apache Kafka and asked of a stub of TensorFlow Serving, by gRPC or by REST. All of it
shares one machine. The sides run in turn, {runs} times each after a run that does not count. Each run's outputs are compared
with the input: every record has its answer, in the order of its key where a side promises it.

The rate is taken by the broker's append times, between the 5th and the 95th percentile. A side that takes longer than
{most_s:g} s is ended then, and has the rate of what it has written. `ours / it` divides the rates of the same turn, ours
being exactly once by the same protocol: the median, the least and the most. A run in which other processes used more than a
tenth of the machine is made once more; `others` is what they used, at most, in the runs that count.
"""

_SAME = """
## What is the same, and what is not

- A request has up to 64 rows. Kafka Streams asks for each record, as its blocking calls are written. Bento keeps the order
  with one thread, so with one request at a time: with more, batches overtook each other, whatever its limit in flight.
- `this pipeline` finds by itself how many requests to make at a time; the others are given a number. The line with 16 in
  flight is given the same.
- This pipeline checks each record against the model's signature, writes dead letters and headers, and commits outputs and
  offsets in transactions. The hand-written consumer writes the same headers; the others copy the record's, and do what their
  line says.
- Redpanda Connect's own licence leaves it out. Bento is its fork under the MIT licence, with the same components for Kafka
  and HTTP. They have no client for TensorFlow Serving's gRPC, so they are compared over REST.
- Beam's `ReadFromKafka` and `WriteToKafka` are Java's, in its expansion service. They hand on no headers, so their latency
  is not measured here ([speed](reference/speed.md#on-prism) has it).
- The parallel consumer's transactional mode is not in the table: with batches it raised "Need to call #beginProducing first"
  from the first commit on, and wrote records twice (0.5.3.3). With KEY, a key's records wait for each other: the most
  frequent one bounds the rate.
- Flink SQL's `ML_PREDICT` was not run: its model providers speak OpenAI's and Triton's protocols, not TensorFlow Serving's.
- Payloads of other kinds than floats were not measured.
"""


def page(
    command: str,
    settings: Mapping[str, Any],
    machine: Mapping[str, Any],
    programs: Sequence[Program],
    backlogs: Mapping[float, Mapping[str, Sequence[Backlog]]],
    steady: Mapping[str, Sequence[Steady]],
) -> str:
    """Returns the page.

    Args:
        command: What was run.
        settings: ``records``, ``width``, ``runs``, ``most_s``.
        machine: Name to value, of the machine and the programs' versions.
        programs: The sides.
        backlogs: Latency of a request in ms to the sides' runs.
        steady: The sides' runs under a steady load.
    """
    parts = [_HEAD.format(command=command, partitions=setting.PARTITIONS, **settings)]
    for latency_ms, runs in backlogs.items():
        parts.append("\n".join(_backlog(latency_ms, programs, runs)))
    if steady:
        parts.append("\n".join(_steady(programs, steady)))
    parts.append(_SAME)
    parts.append(
        "## The machine\n\n" + "\n".join(f"- {name}: {value}" for name, value in machine.items() if value is not None)
    )
    return "\n".join(parts) + "\n"


def ratios(ours: Sequence[Backlog], others: Sequence[Backlog]) -> list[float]:
    """Returns ours divided by the other's, for each turn."""
    return [mine.rate / its.rate for mine, its in zip(ours, others, strict=True)]


def _backlog(latency_ms: float, programs: Sequence[Program], found: Mapping[str, Sequence[Backlog]]) -> Iterator[str]:
    yield f"\n## A request takes {latency_ms:g} ms\n"
    yield "| | delivery | order | requests | records/s (least, most) | ours / it | µs of CPU a record | others | seen |"
    yield "|---|---|---|---|---|---|---|---|---|"
    best = ("", 0.0)
    for program in programs:
        runs = found.get(program.name)
        if not runs:
            continue
        rates = [run.rate for run in runs]
        rate = statistics.median(rates)
        compared = ""
        reference = reference_of(program)
        if program is not reference and (ours := found.get(reference.name)):
            pairs = ratios(ours, runs)
            compared = f"**{_number(statistics.median(pairs))}** ({_number(min(pairs))}, {_number(max(pairs))})"
            if program.peer and program.order == BY_KEY:
                best = max(best, (program.name, rate), key=lambda each: each[1])
        cpu = statistics.median(run.cpu_us for run in runs)
        yield (
            f"| {program.name} | {program.delivery} | {program.order} | {program.requests}"
            f" | {rate:,.0f} ({min(rates):,.0f}, {max(rates):,.0f}) | {compared} | {cpu:,.0f}"
            f" | {max(run.others for run in runs):.0%} | {'; '.join(sorted({run.faults for run in runs} - {''}))} |"
        )
    yield from _targets(latency_ms, programs, found, best[0])


def _targets(
    latency_ms: float, programs: Sequence[Program], found: Mapping[str, Sequence[Backlog]], best: str
) -> Iterator[str]:
    if latency_ms not in TARGETS:
        return
    by_name = {program.name: program for program in programs}
    for name, target in zip((HANDWRITTEN, best), TARGETS[latency_ms], strict=True):
        if not (runs := found.get(name)) or not (ours := found.get(reference_of(by_name[name]).name)):
            continue
        median = statistics.median(ratios(ours, runs))
        verdict = "reached" if median >= target else "**missed**"
        yield f"\nTarget: {_number(target)} × {name}. Measured: {_number(median)}, {verdict}."


def _steady(programs: Sequence[Program], found: Mapping[str, Sequence[Steady]]) -> Iterator[str]:
    yield f"\n## {latency.RATE} records a second, 0 ms a request\n"
    yield "From the time at which a record was due to be sent until a `read_committed` consumer has its answer.\n"
    yield "| | delivery | p50, ms (least, most) | p99, ms (least, most) | others |"
    yield "|---|---|---|---|---|"
    for program in programs:
        if runs := found.get(program.name):
            columns = ([run.p50_ms for run in runs], [run.p99_ms for run in runs])
            cells = [f"{statistics.median(values):.1f} ({min(values):.1f}, {max(values):.1f})" for values in columns]
            others = max(run.others for run in runs)
            yield f"| {program.name} | {program.delivery} | {cells[0]} | {cells[1]} | {others:.0%} |"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
