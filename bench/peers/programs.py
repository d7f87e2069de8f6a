"""The sides: this pipeline, a hand-written consumer, and the peers, each set up as its own experts would."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections.abc import Callable, Mapping

from bench import setting
from bench.peers import installed

ROWS, REQUESTS = setting.ROWS_A_REQUEST, setting.REQUESTS_AT_A_TIME
GRPC, REST = "gRPC", "REST"
BY_KEY, NONE = "by key", "none"
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly once", "at least once"
HANDWRITTEN = "hand-written asyncio consumer"

Command = tuple[list[str], Mapping[str, str]]
"""A command line, and what its environment has besides."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What a side is to do.

    Attributes:
        bootstrap: The broker's address.
        model: ``HOST:PORT/MODEL``, of the server for the side's protocol.
        source: The topic to read.
        output: The topic to write.
    """

    bootstrap: str
    model: str
    source: str
    output: str


@dataclasses.dataclass(frozen=True)
class Program:
    """One side.

    Attributes:
        name: As the tables name it.
        protocol: ``GRPC`` or ``REST``: which server it is given.
        delivery: What it promises.
        order: What order it promises: ``BY_KEY`` or ``NONE``.
        requests: Rows of a request, and requests at a time, in words.
        command: The command line and what its environment has besides.
        latency: Whether it carries headers over, which the measurement of latency needs.
        peer: Whether it is a program of others.
    """

    name: str
    protocol: str
    delivery: str
    order: str
    requests: str
    command: Callable[[Task], Command]
    latency: bool = True
    peer: bool = True


def _ours(side: str, uri: str, *flags: str) -> Callable[[Task], Command]:
    def command(task: Task) -> Command:
        address, _, name = task.model.partition("/")
        model = uri.format(address=address, name=name)
        job = setting.Job(task.bootstrap, model, task.source, task.output, False, flags)
        return job.command(side), {}

    return command


def _handwritten(task: Task) -> Command:
    job = setting.Job(task.bootstrap, task.model, task.source, task.output, False)
    return job.command(setting.HANDWRITTEN_HEADERS), {}


def _java(program: str, main: str, *settings: str) -> Callable[[Task], Command]:
    def command(task: Task) -> Command:
        java = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", installed.java(program), main]
        return [*java, task.bootstrap, task.source, task.output, _group(), task.model, *settings], {}

    return command


def _bento(rows_in_flight: int, threads: int, writes: int) -> Callable[[Task], Command]:
    def command(task: Task) -> Command:
        address, _, name = task.model.partition("/")
        variables = {
            "BOOTSTRAP": task.bootstrap,
            "INPUT": task.source,
            "OUTPUT": task.output,
            "GROUP": _group(),
            "URL": f"http://{address}/v1/models/{name}:predict",
            "ROWS_IN_FLIGHT": str(rows_in_flight),
            "THREADS": str(threads),
            "WRITES": str(writes),
        }
        return [str(installed.bento()), "-c", str(installed.HERE / "bento" / "score.yaml")], variables

    return command


def _run_inference(task: Task) -> Command:
    flags = [task.bootstrap, task.source, task.output, _group(), task.model]
    return [sys.executable, "-m", "bench.peers.run_inference", *flags], {}


def _group() -> str:
    return f"bench-{uuid.uuid4().hex}"


_FIXED = (f"--batch_max_size={ROWS}", f"--max_in_flight={REQUESTS}")
_MANY, _SAME, _BLOCKING = (
    "up to 64 rows, as many as gain",
    f"{ROWS} rows, {REQUESTS} at a time",
    "1 row, a thread a partition",
)
_GRPC_URI, _REST_URI = "grpc://{address}/{name}", "http://{address}/v1/models/{name}"


def _parallel(order: str) -> Callable[[Task], Command]:
    return _java("parallel_consumer", "ParallelConsumer", order, str(ROWS), str(REQUESTS))


def _streams(guarantee: str) -> Callable[[Task], Command]:
    return _java("kafka_streams", "BlockingStreams", guarantee, str(setting.PARTITIONS))


def _ours_of(name: str, protocol: str, delivery: str, requests: str, *flags: str) -> Program:
    side = setting.EXACTLY_ONCE if delivery == EXACTLY_ONCE else setting.AT_LEAST_ONCE
    uri = _GRPC_URI if protocol == GRPC else _REST_URI
    return Program(f"this pipeline{name}", protocol, delivery, BY_KEY, requests, _ours(side, uri, *flags), peer=False)


OURS = _ours_of("", GRPC, EXACTLY_ONCE, _MANY)
OURS_REST = _ours_of(", REST", REST, EXACTLY_ONCE, _MANY)
_PARALLEL, _STREAMS = "Confluent parallel consumer", "Kafka Streams, blocking calls"

PROGRAMS = (
    OURS,
    _ours_of(f", {REQUESTS} in flight", GRPC, EXACTLY_ONCE, _SAME, *_FIXED),
    _ours_of(", at least once", GRPC, AT_LEAST_ONCE, _MANY),
    Program(HANDWRITTEN, GRPC, AT_LEAST_ONCE, BY_KEY, _SAME, _handwritten, peer=False),
    Program(f"{_PARALLEL}, KEY", GRPC, AT_LEAST_ONCE, BY_KEY, _SAME, _parallel("KEY")),
    Program(f"{_PARALLEL}, UNORDERED", GRPC, AT_LEAST_ONCE, NONE, _SAME, _parallel("UNORDERED")),
    Program(_STREAMS, GRPC, AT_LEAST_ONCE, BY_KEY, _BLOCKING, _streams("at_least_once")),
    Program(f"{_STREAMS}, exactly_once_v2", GRPC, EXACTLY_ONCE, BY_KEY, _BLOCKING, _streams("exactly_once_v2")),
    Program(
        "Beam's ReadFromKafka and RunInference on Prism",
        GRPC,
        AT_LEAST_ONCE,
        NONE,
        "up to 64 rows, as many as Prism has bundles",
        _run_inference,
        latency=False,
    ),
    OURS_REST,
    Program("Bento, ordered", REST, AT_LEAST_ONCE, BY_KEY, "64 rows, one at a time", _bento(ROWS, 1, 1)),
    Program("Bento, unordered", REST, AT_LEAST_ONCE, NONE, _SAME, _bento(ROWS * REQUESTS, REQUESTS, REQUESTS)),
)
"""All sides."""


def reference_of(program: Program) -> Program:
    """Returns the side of ours that a side is compared with: exactly once, by the same protocol."""
    return OURS if program.protocol == GRPC else OURS_REST
