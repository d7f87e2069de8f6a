"""The setting of every benchmark: a real broker, a model server, the compared programs, and the machine's description."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import confluent_kafka
import orjson

from tests import topics
from tests.kafka_broker import ROOT
from tests.kafka_broker import VERSION as KAFKA_VERSION

PARTITIONS = 4
FLOATS = 16
MODEL = "sum"
STUB = "transforms.testing.tfserving.grpc_stub"
REST_STUB = "transforms.testing.tfserving.rest_stub"
ROWS_A_REQUEST, REQUESTS_AT_A_TIME = 64, 16
"""The hand-written consumer's fixed settings, which others are given, too."""
STOP_TIMEOUT_S = 90
PACKAGES = ("apache-beam", "confluent-kafka", "grpcio", "protobuf", "numpy", "orjson")

HANDWRITTEN, HANDWRITTEN_HEADERS = "hand-written", "hand-written, same headers"
EXACTLY_ONCE, AT_LEAST_ONCE = "pipeline, exactly once", "pipeline, at least once"
PRISM_NATIVE, PRISM_JAVA = "Prism, native, exactly once", "Prism, Beam's Java transforms, at least once"


class BenchmarkError(RuntimeError):
    """A program under test failed or lost records, so there is no figure."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of one of the compared programs (a side).

    Attributes:
        bootstrap: The broker's address.
        model: ``HOST:PORT/MODEL`` of a gRPC model server; or the URI of any model server, for the pipeline only.
        input_topic: The topic to read.
        output_topic: The topic of predictions.
        until_end: Whether to stop at the end offsets at the start; otherwise it stops at SIGTERM.
        pipeline_flags: More flags for the pipeline.
        summary: Where the pipeline writes its summary.
    """

    bootstrap: str
    model: str
    input_topic: str
    output_topic: str
    until_end: bool
    pipeline_flags: tuple[str, ...] = ()
    summary: Path | None = None

    def command(self, side: str) -> list[str]:
        """Returns the command line of a side. Every run has a consumer group of its own."""
        flags = [
            f"--bootstrap_servers={self.bootstrap}",
            f"--input_topic={self.input_topic}",
            f"--output_topic={self.output_topic}",
            f"--group_id=bench-{uuid.uuid4().hex}",
            *(["--until_end"] if self.until_end else []),
        ]
        if side in (HANDWRITTEN, HANDWRITTEN_HEADERS):
            headers = ["--headers"] if side == HANDWRITTEN_HEADERS else []
            return [sys.executable, "-m", "bench.handwritten", f"--model={self.model}", *flags, *headers]
        delivery = "exactly_once" if side in (EXACTLY_ONCE, PRISM_NATIVE) else "at_least_once"
        flags += [
            "--runner=PrismRunner" if side in (PRISM_NATIVE, PRISM_JAVA) else "--runner=DirectRunner",
            *(["--kafka_io=beam"] if side == PRISM_JAVA else []),
            f"--model={self.model if '://' in self.model else f'grpc://{self.model}'}",
            "--input_format=json",
            "--start_from=earliest",
            f"--delivery={delivery}",
            "--status=off",
            *([f"--summary_json={self.summary}"] if self.summary else []),
        ]
        return [sys.executable, "-m", "pipeline", *flags, *self.pipeline_flags]


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program during the block, and stops it by SIGTERM at the end.

    Raises:
        BenchmarkError: The program failed. The message has the end of its output.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{_short(command)} did not stop within {STOP_TIMEOUT_S} s of SIGTERM") from error
        finally:
            process.kill()
            process.wait()
            if process.returncode not in (0, -signal.SIGKILL):
                output.seek(0)
                tail = output.read().decode(errors="replace")[-3000:]
                raise BenchmarkError(f"{_short(command)} ended with status {process.returncode}:\n{tail}")


def run_to_end(command: list[str], timeout_s: float) -> tuple[float, float]:
    """Runs a program until it ends by itself; returns the seconds that it took: elapsed time and CPU time.

    Raises:
        BenchmarkError: It failed or took too long.
    """
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with running(command) as process:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise BenchmarkError(f"{_short(command)} did not end within {timeout_s:.0f} s") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu_s


@contextlib.contextmanager
def model_server(latency_ms: float, width: int = FLOATS) -> Iterator[str]:
    """A stub of TensorFlow Serving that answers after ``latency_ms``; yields ``HOST:PORT/MODEL``. ``width``: of x."""
    with _stub(STUB, latency_ms, f"--width={width}") as model:
        yield model


@contextlib.contextmanager
def rest_server(latency_ms: float) -> Iterator[str]:
    """The same over REST; yields ``HOST:PORT/MODEL``."""
    with _stub(REST_STUB, latency_ms) as model:
        yield model


@contextlib.contextmanager
def _stub(module: str, latency_ms: float, *flags: str) -> Iterator[str]:
    known = ["--port=0", f"--model={MODEL}", f"--latency_ms={latency_ms:g}", "--fast", *flags]
    command = [sys.executable, "-m", module, *known]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"(\d+)\s*$", process.stdout.readline())
        if not found:
            raise BenchmarkError(f"{module} did not print its port")
        yield f"127.0.0.1:{found[1]}/{MODEL}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close() if process.stdout else None


def values(count: int, seed: int = 7) -> list[bytes]:
    """JSON records of 16 floats, ``{"x": […]}``; always the same."""
    random_number = random.Random(seed).random
    # Rounded like measurements. Parsing them costs the same on each side.
    return [orjson.dumps({"x": [round(random_number(), 6) for _ in range(FLOATS)]}) for _ in range(count)]


def new_topic(bootstrap: str, purpose: str, partitions: int = PARTITIONS, **config: str) -> str:
    """Creates a topic with a new name, and its dead-letter topic. ``config`` has underscores in place of dots."""
    name = f"bench-{purpose}-{uuid.uuid4().hex[:8]}"
    topics.create_topic(bootstrap, name, partitions, {key.replace("_", "."): value for key, value in config.items()})
    if purpose == "output":
        topics.create_topic(bootstrap, f"{name}.dead-letter")
    return name


def read_summary(path: Path) -> dict[str, Any]:
    """The pipeline's summary.

    Raises:
        BenchmarkError: It wrote none.
    """
    if not path.exists():
        raise BenchmarkError(f"the pipeline wrote no summary to {path}")
    summary: dict[str, Any] = json.loads(path.read_text())
    return summary


def machine() -> dict[str, Any]:
    """Describes the machine."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
        "kafka": KAFKA_VERSION,
        "librdkafka": confluent_kafka.libversion()[0],
        **{name: metadata.version(name) for name in PACKAGES},
        "commit": git.stdout.strip() or None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _short(command: list[str]) -> str:
    return " ".join(["python", *command[1:3]])
