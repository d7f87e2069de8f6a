"""Runs sides in turn: a backlog of records, and a steady load."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import orjson

from bench import latency, setting
from bench.load import Receiver, Sender, wait_for_all, wait_for_first
from bench.peers import outputs
from bench.peers.disturbance import Watch
from bench.peers.programs import BY_KEY, EXACTLY_ONCE, GRPC, REST, Program, Task
from bench.peers.side import running
from tests import topics

DISTURBED = 0.1
"""Share of the machine that others used, from which on a run is made once more."""

_START_S = 120.0
_SETTLED_S = 2.0


@dataclasses.dataclass(frozen=True)
class Backlog:
    """One run of a side over a backlog.

    Attributes:
        rate: Records a second, between the 5th and the 95th percentile of the broker's append times.
        answered: Records that were answered in the time that it had.
        faults: What was not as it promises, in words; empty if all was.
        cpu_us: Processor time of the side alone, microseconds a record, with its start and end.
        others: The share of the machine that other processes used meanwhile.
    """

    rate: float
    answered: int
    faults: str
    cpu_us: float
    others: float


@dataclasses.dataclass(frozen=True)
class Steady:
    """One run of a side under a steady load: latency from the intended time of sending, and others' share."""

    p50_ms: float
    p99_ms: float
    others: float


class _Watched(Protocol):
    @property
    def others(self) -> float: ...


R = TypeVar("R", bound=_Watched)
Records = Sequence[tuple[bytes, bytes]]
"""Keys and values of the input."""


class Benchmark:
    """Runs sides against one broker.

    Args:
        bootstrap: The broker's address.
        say: Told of each run.
    """

    def __init__(self, bootstrap: str, say: Callable[[str], None]):
        self._bootstrap, self._say = bootstrap, say

    def backlog(
        self, programs: Sequence[Program], records: Records, latency_ms: float, runs: int, most_s: float
    ) -> dict[str, list[Backlog]]:
        """Returns the runs of each side, made in turn, each over the same full topic; the first of each does not count.

        Args:
            programs: The sides.
            records: The input.
            latency_ms: What a request takes.
            runs: How many of each side count.
            most_s: A side that has not answered all by then is ended: its rate is that of what it has written.

        Raises:
            BenchmarkError: A side failed; or ours or the hand-written one lost a record, or broke what it promises.
        """
        source = setting.new_topic(self._bootstrap, "input")
        topics.produce(self._bootstrap, source, [value for _, value in records], keys=(key for key, _ in records))
        expected = outputs.expected_of(records)
        found: dict[str, list[Backlog]] = {program.name: [] for program in programs}
        with _servers(latency_ms, len(orjson.loads(records[0][1])["x"])) as models:
            for run in range(runs + 1):
                turn = run % len(programs)
                for program in [*programs[turn:], *programs[:turn]]:
                    task = Task(self._bootstrap, models[program.protocol], source, "")
                    done = self._least_disturbed(
                        program, functools.partial(self._drain, task=task, expected=expected, most_s=most_s)
                    )
                    counts = "" if run else " (does not count)"
                    self._say(
                        f"  {latency_ms:g} ms, {program.name}: {done.rate:,.0f} records/s,"
                        f" {done.cpu_us:,.0f} µs of CPU a record, others {done.others:.0%} {done.faults}{counts}"
                    )
                    if run:
                        found[program.name].append(done)
        return found

    def steady(self, programs: Sequence[Program], seconds: float, runs: int) -> dict[str, list[Steady]]:
        """Returns the runs of each side at ``latency.RATE`` records a second, with a server of 0 ms.

        Raises:
            BenchmarkError: A side failed, or a record was not answered.
        """
        found: dict[str, list[Steady]] = {program.name: [] for program in programs}
        with _servers(0, setting.FLOATS) as models:
            for run in range(runs):
                turn = run % len(programs)
                for program in [*programs[turn:], *programs[:turn]]:
                    task = Task(self._bootstrap, models[program.protocol], "", "")
                    done = self._least_disturbed(program, functools.partial(self._load, task=task, seconds=seconds))
                    self._say(f"  {program.name}: p50 {done.p50_ms:.1f} ms, p99 {done.p99_ms:.1f}, others {done.others:.0%}")
                    found[program.name].append(done)
        return found

    def _least_disturbed(self, program: Program, run: Callable[[Program], R]) -> R:
        done = run(program)
        if done.others > DISTURBED:
            self._say(f"  {program.name}: others used {done.others:.0%} of the machine; once more")
            done = min(done, run(program), key=lambda each: each.others)
        return done

    def _drain(self, program: Program, task: Task, expected: Mapping[bytes, Sequence[float]], most_s: float) -> Backlog:
        task = dataclasses.replace(task, output=self._new_output())
        count = sum(map(len, expected.values()))
        before, watch = _children_cpu_s(), Watch()
        with running(program, task) as side:
            start = time.monotonic() + _START_S
            while not (written := self._written(task)):
                side.must_run(start)
                time.sleep(0.1)
            # The markers of transactions count, too, in a topic's end: so it has to stand still.
            deadline, since = time.monotonic() + most_s, time.monotonic()
            while time.monotonic() < deadline and not (written >= count and time.monotonic() - since > _SETTLED_S):
                side.must_run()
                time.sleep(0.2)
                if (now := self._written(task)) != written:
                    written, since = now, time.monotonic()
            others = watch.others()
        found = outputs.read(self._bootstrap, task.output, expected, program.order == BY_KEY)
        complete = written >= count
        faults = _faults(program, found, count if complete else 0)
        if faults and not program.peer:
            raise setting.BenchmarkError(f"{program.name}: {faults}")
        cpu_us = (_children_cpu_s() - before) * 1e6 / max(1, found.count)
        return Backlog(found.rate, found.count, faults, cpu_us, others)

    def _load(self, program: Program, task: Task, seconds: float) -> Steady:
        task = dataclasses.replace(task, source=setting.new_topic(self._bootstrap, "input"), output=self._new_output())
        sender = Sender(self._bootstrap, task.source, setting.values(1000))
        with Receiver(self._bootstrap, task.output) as receiver, running(program, task) as side:
            wait_for_first(sender, receiver, side, _START_S)
            wait_for_all(sender, receiver, 30)
            sender.run(latency.RATE, latency.WARM_UP_S)
            before, watch = sender.sent, Watch()
            sender.run(latency.RATE, seconds)
            others = watch.others()
            wait_for_all(sender, receiver, 30)
        p50_ms, p99_ms, _ = latency.percentiles(receiver.arrivals, sender.sent - before)
        return Steady(p50_ms, p99_ms, others)

    def _new_output(self) -> str:
        return setting.new_topic(self._bootstrap, "output", message_timestamp_type="LogAppendTime")

    def _written(self, task: Task) -> int:
        return sum(topics.end_offsets(self._bootstrap, task.output).values())


def _faults(program: Program, found: outputs.Outputs, count: int) -> str:
    faults = []
    if found.count < count:
        faults.append(f"{count - found.count:,} records lost")
    if found.doubled and program.delivery == EXACTLY_ONCE:
        faults.append(f"{found.doubled:,} records doubled")
    if not found.right:
        faults.append("answers of others, or out of order")
    return ", ".join(faults)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def _servers(latency_ms: float, width: int) -> Iterator[Mapping[str, str]]:
    """The stub of TensorFlow Serving by each protocol; yields protocol to ``HOST:PORT/MODEL``."""
    with setting.model_server(latency_ms, width) as grpc, setting.rest_server(latency_ms) as rest:
        yield {GRPC: grpc, REST: rest}
