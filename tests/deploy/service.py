"""What an image's service must do, however it was started: be healthy, answer every record once, drain on SIGTERM."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from tests import topics
from tests.integration.process import START_S
from transforms.child_process import free_port
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

RECORDS = 1000
PARTITIONS = 2

Start = Callable[[list[str], IO[bytes]], "subprocess.Popen[bytes]"]
"""Starts the command line (the entry point and flags), which writes to the file."""


def check_service(
    kafka: str,
    entry_point: Sequence[str],
    start: Start,
    log: Path,
    user: int | None,
    probe: Callable[[int], None] = lambda port: None,
) -> None:
    """Runs a service against Kafka and a stub model server, both on 127.0.0.1.

    Args:
        kafka: The broker's address.
        entry_point: The image's.
        start: Starts a command line.
        log: Where it writes to.
        user: Whom the service must run as; ``None``: whoever it is.
        probe: Asks a healthy service in another way too; gets the port of its health.

    Raises:
        AssertionError: It did not do what it must; the message has its log.
    """
    name = uuid.uuid4().hex[:8]
    source, output = f"in-{name}", f"out-{name}"
    for topic in (source, output, f"{output}.dead-letter"):
        topics.create_topic(kafka, topic, PARTITIONS)
    port = free_port()
    with TfServingGrpcStub() as stub, log.open("wb") as out:
        command = [
            *entry_point,
            f"--bootstrap_servers={kafka}",
            f"--input_topic={source}",
            f"--output_topic={output}",
            f"--group_id=group-{name}",
            f"--model={stub.uri()}",
            "--metrics_host=127.0.0.1",  # these later ones win
            f"--metrics_port={port}",
        ]
        process = start(command, out)
        try:
            _wait(process, log, START_S, lambda: status(port, "/healthz") == 200)
            assert status(port, "/readyz") == 200
            probe(port)
            service = service_process(process.pid, entry_point)
            if user is not None:
                assert f"Uid:\t{user}\t{user}\t{user}\t{user}" in Path(f"/proc/{service}/status").read_text()
            values = (b'{"x": [%d]}' % number for number in range(RECORDS))
            produced = [number % PARTITIONS for number in range(RECORDS)]
            topics.produce(kafka, source, values, partitions=produced)
            committed = functools.partial(topics.committed_offsets, kafka, f"group-{name}", source)
            _wait(process, log, START_S, lambda: sum(committed().values()) >= RECORDS)
            os.kill(service, signal.SIGTERM)  # as a container engine does, to the container's first process
            assert process.wait(START_S) == 0, log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
    assert "draining" in log.read_text(), log.read_text()
    inputs = {(source, partition): range(produced.count(partition)) for partition in range(PARTITIONS)}
    predictions = topics.read_all(kafka, output)
    report = topics.check_exactly_once(inputs, predictions)
    assert report.ok, report


def service_process(pid: int, entry_point: Sequence[str]) -> int:
    """Returns the process that runs the entry point: ``pid``, or one that it started, or one that those started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    generation = [pid]
    while generation:
        for process in generation:
            arguments = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if arguments[1 : len(entry_point)] == list(entry_point[1:]):
                return process
        generation = [child for child, parent in parents.items() if parent in generation]
    raise AssertionError(f"{pid} has no process that runs {entry_point}")


def status(port: int, path: str) -> int:
    """Asks 127.0.0.1; returns HTTP's status, 0 if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def _wait(process: subprocess.Popen[bytes], log: Path, seconds: float, happened: Callable[[], bool]) -> None:
    stop_at = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < stop_at, log.read_text()
        time.sleep(0.2)
