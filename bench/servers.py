"""The pipeline against the real server of each protocol: its records a second as a share of a plain load generator's.

Both send batches of the same size, 16 at a time, on the same machine, in turn. The servers are those of ``tests/servers``.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

from bench import setting
from bench.report import Figure, median_of
from bench.throughput import append_times, rate, ratio
from tests import topics
from tests.kafka_broker import ROOT
from tests.servers.kserve_v1 import kserve_v1
from tests.servers.kserve_v2 import kserve_v2
from tests.servers.mlserver import mlserver
from tests.servers.multi_model_server import MODEL, multi_model_server
from tests.servers.torchserve import torchserve
from tests.servers.triton import triton

IN_FLIGHT, BATCH = 16, 64
RUN_S = 6.0
"""The topic gets as many records as the load generator would send in this many seconds."""

MOST_RECORDS = 300_000
TIMEOUT_S = 300


@contextlib.contextmanager
def _mlserver() -> Iterator[list[str]]:
    with mlserver() as server:
        yield [server.uri(protocol, "half") for protocol in ("grpc", "http")]


@contextlib.contextmanager
def _triton() -> Iterator[list[str]]:
    with triton() as server:
        yield [server.uri(protocol, "half") for protocol in ("grpc", "http")]


@contextlib.contextmanager
def _kserve_v2() -> Iterator[list[str]]:
    with kserve_v2() as server:
        yield [server.uri(protocol, "half") for protocol in ("grpc", "http")]


@contextlib.contextmanager
def _kserve_v1() -> Iterator[list[str]]:
    with kserve_v1() as address:
        yield [f"http://{address}/v1/models/{MODEL}"]


@contextlib.contextmanager
def _multi_model_server() -> Iterator[list[str]]:
    with multi_model_server() as server:
        yield [f"mms+http://{server.inference}/{MODEL}?management={server.management}"]


@contextlib.contextmanager
def _torchserve() -> Iterator[list[str]]:
    with torchserve(batch_size=8) as server:
        yield [f"mms+http://{server.inference}/{MODEL}?management={server.management}"]


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[list[str]]]] = {
    "MLServer": _mlserver,
    "Triton": _triton,
    "KServe V2": _kserve_v2,
    "KServe V1": _kserve_v1,
    "multi-model-server": _multi_model_server,
    "TorchServe": _torchserve,
}


def measure(bootstrap: str, runs: int, flags: tuple[str, ...], say: Callable[[str], None]) -> list[Figure]:
    """Returns, for each server and protocol, both rates and their ratio.

    Raises:
        BenchmarkError: A side failed, or a record was not answered.
    """
    figures = []
    for name, serve in SERVERS.items():
        with serve() as uris:
            for uri in uris:
                label = f"{name}, {uri.partition('://')[0]}"
                plain, ours = [], []
                for _ in range(runs):
                    plain.append(_load(uri))
                    ours.append(_pipeline(bootstrap, uri, min(MOST_RECORDS, int(plain[-1] * RUN_S)), flags))
                    say(f"  {label}: load generator {plain[-1]:,.0f}, pipeline {ours[-1]:,.0f} records/s")
                peer = median_of(f"{label}: load generator", plain, "records/s")
                mine = median_of(f"{label}: pipeline, exactly once", ours, "records/s")
                figures += [peer, mine, ratio(f"{label}: pipeline / load generator", mine, peer)]
    return figures


def _load(uri: str) -> float:
    command = [sys.executable, "-m", "bench.load_generator", uri, f"--rows={BATCH}", f"--in_flight={IN_FLIGHT}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode:
        raise setting.BenchmarkError(f"{uri}: the load generator failed:\n{ended.stderr[-2000:]}")
    return float(ended.stdout)


def _pipeline(bootstrap: str, uri: str, records: int, flags: tuple[str, ...]) -> float:
    source = setting.new_topic(bootstrap, "input")
    output = setting.new_topic(bootstrap, "output", message_timestamp_type="LogAppendTime")
    topics.produce(bootstrap, source, (b"[%d,1,2,3]" % (i % 1000) for i in range(records)))
    same = (f"--batch_max_size={BATCH}", f"--max_in_flight={IN_FLIGHT}")
    job = setting.Job(bootstrap, uri, source, output, True, (*same, *flags))
    setting.run_to_end(job.command(setting.EXACTLY_ONCE), TIMEOUT_S)
    times, distinct = append_times(bootstrap, output)
    if not len(times) == distinct == records:
        raise setting.BenchmarkError(f"{uri}: {records} in, {len(times)} out, of {distinct} sources")
    return rate(times)
