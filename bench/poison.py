"""Guilty rows: the pipeline's records per second with 1% of them, as a share of its rate without.

The sides of a pair differ only in the records: the same flags, the same model server, the same number of records, in turn on
the same machine. Every hundredth record has a guilty row, to which the model server answers with one kind of failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

from bench import setting
from bench.report import Figure, median_of
from bench.throughput import append_times, rate, ratio
from tests import topics
from tests.kafka_broker import ROOT

EVERY = 100
TIMEOUT_S = 900
AT_LEAST = 0.5
STUBS = {"grpc": setting.STUB, "http": "transforms.testing.tfserving.rest_stub"}

GIVEN_UP = ("--on_unavailable=dead_letter", "--retry_deadline_s=1", "--request_timeout_ms=1000")
"""No row is blamed for an overload or a time-out. So a job holds, unless it is told to give such records up."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of guilty rows.

    Attributes:
        name: For the table.
        guilty: The stub's name for it.
        protocol: Of the model server.
        error_class: The class of the dead letters.
        flags: Flags of both sides.
        at_least: The target of the ratio, if there is one.
    """

    name: str
    guilty: str
    protocol: str = "grpc"
    error_class: str = "ServerError"
    flags: tuple[str, ...] = ()
    at_least: float | None = AT_LEAST


KINDS = (
    Kind("INVALID_ARGUMENT", "rejected", error_class="Rejected"),
    Kind("INTERNAL", "internal"),
    Kind("UNKNOWN", "unknown"),
    Kind("UNAVAILABLE", "unavailable"),
    Kind("connection cut", "cut"),
    Kind("HTTP 500", "internal", "http"),
    Kind("HTTP 503", "unavailable", "http"),
    Kind("RESOURCE_EXHAUSTED", "overload", "grpc", "Unavailable", GIVEN_UP, None),
    Kind("HTTP 429", "overload", "http", "Unavailable", GIVEN_UP, None),
    Kind("time-out", "time-out", "grpc", "Unavailable", GIVEN_UP, None),
)


@dataclasses.dataclass
class _Asked:
    uri: str
    requests: int = 0


def measure(
    bootstrap: str,
    records: int,
    runs: int,
    names: list[str],
    server_ms: list[float],
    flags: tuple[str, ...],
    say: Callable[[str], None],
) -> list[Figure]:
    """Returns for each kind both rates, their ratio, and the requests per record.

    Args:
        bootstrap: The broker's address.
        records: Records of a run.
        runs: Pairs of each kind.
        names: Of the kinds to measure; see ``named``.
        server_ms: The server's latencies, in milliseconds: each kind with each.
        flags: Further flags of the pipeline.
        say: Shows progress.

    Raises:
        BenchmarkError: A side failed, or a record was not answered as it should be.
    """
    kinds = named(names)
    clean = setting.values(records)
    topic_of = {}
    for side, values in {
        "clean": clean,
        "guilty": [_guilty(v) if i % EVERY == EVERY // 2 else v for i, v in enumerate(clean)],
    }.items():
        topic_of[side] = setting.new_topic(bootstrap, "input")
        topics.produce(bootstrap, topic_of[side], values)
    figures = []
    for kind, latency_ms in itertools.product(kinds, server_ms):
        name = f"{kind.name}, {latency_ms:g} ms"
        rates: dict[str, list[float]] = {"clean": [], "guilty": []}
        asked: dict[str, list[float]] = {"clean": [], "guilty": []}
        for run in range(-1, runs):
            for side in ("clean", "guilty")[:: 1 if run % 2 else -1]:
                if run < 0 and side == "guilty":
                    continue
                per_second, requests = _run(bootstrap, kind, latency_ms, topic_of[side], records, side == "guilty", flags)
                if run >= 0:  # the first one warms up
                    rates[side].append(per_second)
                    asked[side].append(requests / records)
                    say(f"  {name}, {side}: {per_second:,.0f} records/s, {requests:,} requests")
        without = median_of(f"{name}: without", rates["clean"], "records/s")
        with_guilty = median_of(f"{name}: 1% guilty", rates["guilty"], "records/s")
        figures += [
            without,
            with_guilty,
            ratio(f"{name}: 1% guilty / without", with_guilty, without, kind.at_least),
            median_of(f"{name}: requests without", asked["clean"], "per record"),
            median_of(f"{name}: requests, 1% guilty", asked["guilty"], "per record"),
        ]
    return figures


def named(names: list[str]) -> tuple[Kind, ...]:
    """Returns the kinds of these names; all of them for no name, and for ``all``.

    Raises:
        BenchmarkError: There is no kind of one of these names.
    """
    if not names or "all" in names:
        return KINDS
    known = {kind.name: kind for kind in KINDS}
    if unknown := [name for name in names if name not in known]:
        raise setting.BenchmarkError(f"--kind={unknown[0]}: give all, or one of {', '.join(known)}")
    return tuple(known[name] for name in names)


def _guilty(value: bytes) -> bytes:
    return value.replace(b"[", b"[-1", 1)


def _run(
    bootstrap: str, kind: Kind, latency_ms: float, source: str, records: int, guilty: bool, flags: tuple[str, ...]
) -> tuple[float, int]:
    output = setting.new_topic(bootstrap, "output", message_timestamp_type="LogAppendTime")
    with _server(kind, latency_ms) as server:
        job = setting.Job(bootstrap, server.uri, source, output, True, (*kind.flags, *flags))
        setting.run_to_end(job.command(setting.EXACTLY_ONCE), TIMEOUT_S)
    times, distinct = append_times(bootstrap, output)
    dead = topics.read_all(bootstrap, f"{output}.dead-letter")
    classes = {value for record in dead for name, value in record.headers or () if name == "inference.error.class"}
    expected = records // EVERY if guilty else 0
    if not (len(times) == distinct == records - expected and len(dead) == expected) or classes - {kind.error_class.encode()}:
        raise setting.BenchmarkError(
            f"{kind.name}: {records} in, {len(times)} predictions, {len(dead)} dead letters {classes}"
        )
    return rate(times), server.requests


@contextlib.contextmanager
def _server(kind: Kind, latency_ms: float) -> Iterator[_Asked]:
    flags = f"--model={setting.MODEL}", "--fast", f"--guilty={kind.guilty}", f"--latency_ms={latency_ms:g}"
    command = [sys.executable, "-m", STUBS[kind.protocol], *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        path = f"v1/models/{setting.MODEL}" if kind.protocol == "http" else setting.MODEL
        asked = _Asked(f"{kind.protocol}://127.0.0.1:{port}/{path}")
        yield asked
        process.send_signal(signal.SIGTERM)
        found = re.search(r"(\d+) requests", process.communicate(timeout=10)[0])
        asked.requests = int(found[1]) if found else 0
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
