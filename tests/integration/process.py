"""``python -m pipeline`` as a process of its own, and the topics it works on.

Usage::

    job = new_job(model=stub.uri(), partitions=2)
    job.produce(range(1000))
    assert job.run("--until_end").summary["records"] == 1000
    assert job.report().ok, job.report()
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from tests import topics
from tests.integration.preloaded import start
from transforms.testing.stub_server import StubServer
from transforms.types import KafkaRecord

START_S = 400.0
"""How long anything may take that a process is asked to do, on a busy machine: only a fault lasts longer."""

SMALL_BUNDLES = ("--kafka_config=queued.min.messages=300", "--kafka_config=fetch.message.max.bytes=8192")
"""Makes the consumer hold little in advance, so that a backlog is read in bundles of some hundred records."""


class Running(Protocol):
    """A process that says whether it runs; as text, what it has printed."""

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""


class Scoring:
    """A running ``python -m pipeline``.

    Attributes:
        pid: Its process id.
        flags: What it was started with.
    """

    def __init__(self, flags: Sequence[str], environ: dict[str, str] | None = None, module: str = "pipeline"):
        self.flags = tuple(flags)
        self._folder = tempfile.TemporaryDirectory(prefix="scoring-")
        folder = Path(self._folder.name)
        self._out, self._err, self._summary = folder / "out", folder / "err", folder / "summary.json"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = start(module, [*flags, f"--summary_json={self._summary}"], out, err, environ)
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return self._err.read_text(errors="replace")

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--summary_json`` wrote."""
        found: dict[str, Any] = json.loads(self._summary.read_text())
        return found

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, timeout_s: float = START_S) -> int:
        """Waits for its end and returns its exit status.

        Raises:
            AssertionError: It has not ended in time.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:.0f} s\n{self}") from None

    def done(self, timeout_s: float = START_S) -> Scoring:
        """Waits for its end, which must be a good one."""
        status = self.wait(timeout_s)
        assert status == 0, f"exit status {status}\n{self}"
        return self

    def wait_for_output(self, text: str, timeout_s: float = START_S) -> None:
        """Waits until it has printed ``text`` on either stream."""
        wait_until(lambda: text in self.stdout + self.stderr, f"{text!r}", timeout_s, self)

    def wait_until_it_catches_signals(self) -> None:
        """Waits until SIGTERM has a handler (by Linux's mask of the caught ones): before, it would end any process."""
        mask = 1 << (signal.SIGTERM - 1)
        status = Path(f"/proc/{self.pid}/status")
        wait_until(
            lambda: int(status.read_text().partition("SigCgt:")[2].split()[0], 16) & mask > 0, "handler", START_S, self
        )

    def interrupt(self) -> None:
        """Sends SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def interrupt_all(self) -> None:
        """Sends SIGINT to it and its children, as a terminal does on Ctrl-C: the whole group of processes gets it."""
        if self.running:
            os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        """Sends SIGTERM, as Kubernetes does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once (SIGKILL) and waits for that."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it if it still runs, and removes its files."""
        if self.running:
            self.kill()
        self._folder.cleanup()

    def __str__(self) -> str:
        state = "running" if self.running else f"exit status {self._process.returncode}"
        return f"python -m pipeline {' '.join(self.flags)} ({state})\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"


@dataclasses.dataclass
class Job:
    """Topics, a group and a model; any number of processes may work on it.

    Attributes:
        bootstrap: The broker's address.
        inputs: The input topics.
        output: The output topic; dead letters go to ``<output>.dead-letter``.
        group: The consumer group.
        flags: What every process gets besides.
        environ: The same of the environment.
        started: Every process started.
        produced: How many numbers ``produce`` has written.
    """

    bootstrap: str
    inputs: tuple[str, ...]
    output: str
    group: str
    flags: tuple[str, ...] = ()
    environ: dict[str, str] = dataclasses.field(default_factory=dict)
    started: list[Scoring] = dataclasses.field(default_factory=list)
    produced: int = 0

    def command(self, *flags: str) -> list[str]:
        """The flags of a process; those given here win."""
        ours = {
            "runner": "DirectRunner",
            "bootstrap_servers": self.bootstrap,
            "output_topic": self.output,
            "group_id": self.group,
        }
        given = {flag.removeprefix("--").partition("=")[0] for flag in flags}
        command = [f"--{name}={value}" for name, value in ours.items() if name not in given]
        command += [f"--input_topic={topic}" for topic in self.inputs] if "input_topic" not in given else []
        command += [flag for flag in self.flags if _name(flag) not in given or _name(flag) == "kafka_config"]
        return [*command, *flags]

    def start(self, *flags: str, environ: dict[str, str] | None = None) -> Scoring:
        """Starts a process; flags given here win."""
        process = Scoring(self.command(*flags), self.environ | (environ or {}))
        self.started.append(process)
        return process

    def run(self, *flags: str, timeout_s: float = START_S) -> Scoring:
        """Starts a process and waits for its good end."""
        return self.start(*flags).done(timeout_s)

    def produce(self, numbers: Iterable[int], *, topic: str | None = None, partition: int | None = None) -> None:
        """Writes ``{"x": [number]}`` for each number, without a key, to the partitions in turn or to one."""
        numbers = list(numbers)
        self.produced += len(numbers)
        topic = topic or self.inputs[0]
        count = topics.partition_count(self.bootstrap, topic)
        topics.produce(
            self.bootstrap,
            topic,
            (b'{"x": [%d]}' % number for number in numbers),
            partitions=(index % count if partition is None else partition for index in range(len(numbers))),
        )

    def keep_busy(self, records: int = 5_000) -> None:
        """Produces as many numbers if fewer are left to be scored: however fast the processes are, they don't run out."""
        if self.produced - sum(self.committed().values()) < records:
            self.produce(range(self.produced, self.produced + records))

    def predictions(self) -> list[KafkaRecord]:
        """What a ``read_committed`` reader finds in the output topic."""
        return self._read(self.output)

    def dead_letters(self) -> list[KafkaRecord]:
        """What a ``read_committed`` reader finds in the dead-letter topic."""
        return self._read(f"{self.output}.dead-letter")

    def _read(self, topic: str) -> list[KafkaRecord]:
        if not any(process.running for process in self.started):
            topics.wait_for_open_transactions(self.bootstrap, topic)  # a killed one's hides what the others wrote after it
        return topics.read_all(self.bootstrap, topic)

    def report(self) -> topics.Report:
        """Matches everything written with everything that can be read from the inputs."""
        inputs: dict[tuple[str, int], set[int]] = {}
        for topic in self.inputs:
            inputs |= topics.offsets_of(topics.read_all(self.bootstrap, topic))
        return topics.check_exactly_once(inputs, self.predictions(), self.dead_letters())

    def committed(self, topic: str | None = None) -> dict[int, int]:
        """The group's committed offsets in the (first) input topic."""
        return topics.committed_offsets(self.bootstrap, self.group, topic or self.inputs[0])

    def shares(self) -> dict[str, int]:
        """How many partitions each member of its group has."""
        return topics.shares(self.bootstrap, self.group)

    def end_of_output(self) -> int:
        """A measure of progress: the committed end of the output, which counts markers and aborted records too."""
        return sum(topics.end_offsets(self.bootstrap, self.output).values())

    def wait_for_progress(self, records: int, process: Scoring, since: int = 0, timeout_s: float = START_S) -> None:
        """Waits until ``end_of_output`` has moved by ``records`` or more since it was ``since``."""
        wait_until(lambda: self.end_of_output() >= since + records, f"{records} more outputs", timeout_s, process)

    def wait_for_held(self, stub: StubServer, process: Scoring, timeout_s: float = START_S) -> None:
        """Waits until ``stub`` holds a request of ``process``, which comes no further then; see ``Faults.hold_after``."""
        wait_until(lambda: stub.faults.held > 0, "request that the model server holds", timeout_s, process)

    def written(self) -> int:
        """As ``end_of_output``, with what is written in a transaction that is still open."""
        return sum(topics.end_offsets(self.bootstrap, self.output, "read_uncommitted").values())

    def hold_in_a_transaction(self, stub: StubServer, process: Scoring) -> None:
        """Makes ``stub`` hold the requests of ``process`` when outputs are written whose transaction is open."""

        def caught() -> bool:
            stub.faults.hold_after(200)  # from a request within some bundle on
            self.wait_for_held(stub, process)
            stop_at = time.monotonic() + 1
            while time.monotonic() < stop_at:
                if self.written() > self.end_of_output():
                    return True
            return False

        wait_until(caught, "outputs in an open transaction", START_S, process)

    def wait_for_commit(
        self, records: int, process: Scoring, timeout_s: float = START_S, stub: StubServer | None = None
    ) -> None:
        """Waits until the group has committed ``records`` of the first input topic.

        A ``stub`` that holds its answers gives some more meanwhile: on a fast machine the first bundle has more rows than
        any number that a test could choose for ``hold_after``.
        """

        def committed() -> bool:
            if sum(self.committed().values()) >= records:
                return True
            if stub is not None and stub.faults.held:
                stub.faults.hold_after(500)
            return False

        wait_until(committed, f"{records} committed", timeout_s, process)


def _name(flag: str) -> str:
    return flag.removeprefix("--").partition("=")[0]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float, process: Running | None = None) -> None:
    """Waits for a condition; gives up at once when ``process`` has ended without it.

    Raises:
        AssertionError: It did not come.
    """
    stop_at = time.monotonic() + timeout_s
    while True:
        ended = process is not None and not process.running
        if condition():
            return
        if ended or time.monotonic() > stop_at:
            raise AssertionError(f"no {what} within {timeout_s:.0f} s{' before its end' if ended else ''}\n{process or ''}")
        time.sleep(0.1)


@contextlib.contextmanager
def job_factory(bootstrap: str, *, show: bool = True) -> Iterator[Callable[..., Job]]:
    """Gives ``new_job(model, partitions=1, outputs=2, topics_in=1, flags=(), config=None)``; ends what it started.

    Args:
        bootstrap: The broker's address.
        show: Print what the processes have printed, which pytest shows if the test fails.
    """
    jobs: list[Job] = []

    def new_job(
        model: str,
        partitions: int = 1,
        outputs: int = 2,
        topics_in: int = 1,
        flags: Sequence[str] = (),
        config: Mapping[str, str] | None = None,
    ) -> Job:
        name = uuid4().hex[:8]
        inputs = tuple(f"in-{name}-{index}" for index in range(topics_in))
        for topic in inputs:
            topics.create_topic(bootstrap, topic, partitions, config)
        for topic in (f"out-{name}", f"out-{name}.dead-letter"):
            topics.create_topic(bootstrap, topic, outputs)
        job = Job(bootstrap, inputs, f"out-{name}", f"group-{name}", (f"--model={model}", *flags))
        jobs.append(job)
        return job

    try:
        yield new_job
    finally:
        for job in jobs:
            for process in job.started:
                if process.running:
                    process.kill()
                if show:
                    print(process)
                process.close()
