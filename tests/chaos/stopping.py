"""Ways to ask a job to end: SIGTERM, Ctrl-C at a terminal, a second signal; in every state that it can be in."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from tests.chaos.processes import in_mid_stream
from tests.chaos.stream import Stream
from tests.integration.process import START_S, Scoring
from tests.kafka_broker import TO_BE_KILLED, KafkaBroker

STOPPED_AT_ONCE = (128 + 2, 128 + 15)
"""Exit statuses of a process that got a second signal."""

Ask = Callable[[Scoring], None]


def ask_to_end(stream: Stream, times: int) -> None:
    """A job is asked to end in each state and in each way, with one process and with two workers; the next one goes on."""
    with KafkaBroker(properties=TO_BE_KILLED) as broker, stream.elsewhere(broker.bootstrap):
        stream.fill(stream.planned)
        cases = list(itertools.product(STATES, WAYS, ((), ("--workers=2",))))
        stream.rng.shuffle(cases)
        for left, (state, way, workers) in zip(range(times, 0, -1), itertools.cycle(cases), strict=False):
            stream.throttle(1 / (left + 1))
            process = stream.job.start("--status=plain", *workers)
            asked_at: list[float] = []

            def ask(asked: Scoring, way: str = way, asked_at: list[float] = asked_at) -> None:
                asked_at.append(time.monotonic())
                WAYS[way](asked)

            status = STATES[state](stream, process, broker, ask)
            stream.faults += 1
            said = (
                f"{' '.join((way, 'while', state, *workers))}: exit status {status}, {time.monotonic() - asked_at[0]:.1f} s"
            )
            stream.say(f"fault {stream.faults}: {said}")
            allowed = (0, *STOPPED_AT_ONCE) if way == TWICE or state == DRAINING else (0,)
            assert status in allowed, f"{said}\n{process}"
            assert "Traceback" not in process.stderr, process
        stream.finish()
        stream.settle()


def _twice(process: Scoring) -> None:
    process.terminate()
    time.sleep(0.2)
    process.terminate()


TWICE = "SIGTERM twice"
WAYS: dict[str, Ask] = {"SIGTERM": Scoring.terminate, "Ctrl-C": Scoring.interrupt_all, TWICE: _twice}


def _starting(stream: Stream, process: Scoring, _: KafkaBroker, ask: Ask) -> int:
    process.wait_until_it_catches_signals()
    time.sleep(stream.rng.uniform(0, 3))
    ask(process)
    return process.wait()


def _running(stream: Stream, process: Scoring, _: KafkaBroker, ask: Ask) -> int:
    in_mid_stream(stream, 1, process)
    ask(process)
    stream.stub.faults.release()
    return process.wait()


def _server_away(stream: Stream, process: Scoring, _: KafkaBroker, ask: Ask) -> int:
    _held(stream, process)
    stream.stub.down()
    stream.stub.faults.release()
    process.wait_for_output("WAITING for the model server")
    ask(process)
    status = process.wait()
    stream.stub.up()
    return status


def _kafka_away(stream: Stream, process: Scoring, broker: KafkaBroker, ask: Ask) -> int:
    _held(stream, process)
    broker.kill()
    stream.stub.faults.release()
    process.wait_for_output("WAITING for Kafka")
    ask(process)
    time.sleep(stream.rng.uniform(0, 2))
    broker.start()
    return process.wait()


def _draining(stream: Stream, process: Scoring, _: KafkaBroker, ask: Ask) -> int:
    _held(stream, process)
    process.terminate()
    process.wait_for_output("draining")
    ask(process)
    stream.stub.faults.release()
    return process.wait()


def _held(stream: Stream, process: Scoring) -> None:
    stream.job.wait_for_held(stream.stub, process, START_S)


DRAINING = "draining"
STATES: dict[str, Callable[[Stream, Scoring, KafkaBroker, Ask], int]] = {
    "starting": _starting,
    "running": _running,
    "the model server is away": _server_away,
    "Kafka is away": _kafka_away,
    DRAINING: _draining,
}
