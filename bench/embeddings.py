"""Embeddings in batches of 64 texts against one text a request: ``python -m bench --only embeddings``.

Two servers: a stub that takes 20 ms for a request of any size, as a service far away does, and all-MiniLM-L6-v2 behind
LitServe on this machine, where the model's own time counts.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import setting
from bench.report import Figure, median_of
from bench.throughput import append_times, ratio
from tests import topics
from tests.servers.litserve import minilm
from transforms.testing.openai.stub import OpenAiStub

BATCH = 64
STUB_S = 0.02
TIMEOUT_S = 600
RECORDS = {"a stub of 20 ms": 3_200, "all-MiniLM-L6-v2, LitServe": 512}


@contextlib.contextmanager
def _stub() -> Iterator[str]:
    with OpenAiStub() as stub:
        stub.faults.latency_s = STUB_S
        yield stub.uri()


@contextlib.contextmanager
def _minilm() -> Iterator[str]:
    with minilm() as address:
        yield f"openai+http://{address}/all-MiniLM-L6-v2?task=embeddings"


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = dict(zip(RECORDS, (_stub, _minilm), strict=True))


def measure(bootstrap: str, runs: int, flags: tuple[str, ...], say: Callable[[str], None]) -> list[Figure]:
    """Returns, for each server, the records a second and the requests of both, and the ratio of the rates.

    Raises:
        BenchmarkError: A side failed, or a record was not answered.
    """
    figures = []
    for name, serve in SERVERS.items():
        with serve() as uri:
            rates: dict[int, list[float]] = {BATCH: [], 1: []}
            for _ in range(runs):
                for rows, found in rates.items():
                    rate, requests = _run(bootstrap, uri, RECORDS[name], rows, flags)
                    found.append(rate)
                    twice = requests - math.ceil(RECORDS[name] / rows)  # a bundle that took too long was rolled back
                    say(f"  {name}, {rows} a request: {rate:,.0f} records/s, {requests:,} requests, {twice} of them again")
            batched = median_of(f"embeddings, {name}: {BATCH} a request", rates[BATCH], "records/s")
            single = median_of(f"embeddings, {name}: 1 a request", rates[1], "records/s")
            figures += [batched, single, ratio(f"embeddings, {name}: {BATCH} a request / 1", batched, single)]
    return figures


def _run(bootstrap: str, uri: str, records: int, rows: int, flags: tuple[str, ...]) -> tuple[float, int]:
    source, output = setting.new_topic(bootstrap, "input", 1), setting.new_topic(bootstrap, "output")
    texts = (f"Parcel {n} was sent on a rainy day, and came late.".encode() for n in range(records))
    topics.produce(bootstrap, source, texts)
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        of_texts = ("--input_format=bytes", "--max_in_flight=16", f"--batch_max_size={rows}", *flags)
        job = setting.Job(bootstrap, uri, source, output, True, of_texts, summary)
        setting.run_to_end(job.command(setting.EXACTLY_ONCE), TIMEOUT_S)
        found = setting.read_summary(summary)
    times, distinct = append_times(bootstrap, output)
    if not len(times) == distinct == records:
        raise setting.BenchmarkError(f"{uri}: {records} in, {len(times)} out, of {distinct} sources")
    return float(found["records_per_s"]), int(found["batches"])
