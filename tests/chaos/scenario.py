"""``Scenario``: what is done to a job. ``Outcome``: what became of it. ``play`` runs one."""

from __future__ import annotations

import dataclasses
import random
import re
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.stream import NotHereError, Said, Stream
from tests.chaos.verdict import Verdict
from tests.integration.process import SMALL_BUNDLES, Scoring, job_factory
from tests.kafka_broker import ROOT
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

EXACTLY_ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"

FLAGS = ("--status=off", "--max_in_flight=6", "--batch_max_size=16", "--kafka_config=linger.ms=0", *SMALL_BUNDLES)
"""Several rounds of requests a bundle, small bundles, and no linger: faults find outputs written and not committed."""

_TIME = re.compile(r"^\[?\d[\d:.,TZ -]*\]?\s*")
_NUMBER = re.compile(r"\d[\d.,]*")
NOT_RUN = "not run"
LOGS = ROOT / ".cache" / "chaos"
LAST_LINES = 20
"""Of each process, for a failed scenario."""
SHOWN = 160
"""Most characters of a line that a process printed."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A kind of fault.

    Attributes:
        name: What ``--only`` takes.
        what: The fault, for the table.
        act: Runs the job with so many faults, to its end.
        faults: How many faults there are; in ``quick`` the second number.
        records: How many records there are, likewise.
        flags: The job's flags besides ``FLAGS``.
        partitions: Of the input topic.
        deliveries: The guarantees that it is played with.
        quick: Whether the short form has it.
        server: The kind of model server.
    """

    name: str
    what: str
    act: Callable[[Stream, int], None]
    faults: tuple[int, int]
    records: tuple[int, int] = (100_000, 10_000)
    flags: tuple[str, ...] = ()
    partitions: int = 3
    deliveries: tuple[str, ...] = (EXACTLY_ONCE, AT_LEAST_ONCE)
    quick: bool = True
    server: type[StubServer] = TfServingGrpcStub


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one scenario.

    Attributes:
        scenario: Which.
        delivery: The job's guarantee.
        seed: Of its random choices.
        faults: How many faults were injected.
        pauses: Seconds from each fault to the next commit.
        asked_twice: Rows that the model server answered more often than once, a record.
        seconds: How long it took.
        verdict: The counts; ``None`` if it came to no end.
        problem: Why there are none.
        said: What the processes said most, without numbers.
    """

    scenario: Scenario
    delivery: str
    seed: int
    faults: int
    pauses: tuple[float, ...]
    asked_twice: float
    seconds: float
    verdict: Verdict | None
    problem: str
    said: tuple[str, ...]

    @property
    def skipped(self) -> bool:
        """Whether this machine could not play it."""
        return self.problem.startswith(NOT_RUN)

    @property
    def ok(self) -> bool:
        """Whether it ended, and the guarantee held."""
        return self.verdict is not None and self.verdict.ok(self.delivery == EXACTLY_ONCE)

    @property
    def failed(self) -> bool:
        """Whether the guarantee did not hold, or there was no end to judge."""
        return not self.ok and not self.skipped


def play(scenario: Scenario, delivery: str, seed: int, bootstrap: str, *, quick: bool, say: Said) -> Outcome:
    """Runs a scenario once.

    Args:
        scenario: Which.
        delivery: The job's guarantee.
        seed: Of its random choices: faults come at the same number of answers with the same seed.
        bootstrap: The broker's address.
        quick: The short form.
        say: Takes lines of progress.
    """
    began = time.monotonic()
    with job_factory(bootstrap, show=False) as new_job, scenario.server() as stub:
        stub.faults.latency_s = 0.01
        flags = (*FLAGS, f"--delivery={delivery}", *scenario.flags)
        job = new_job(stub.uri(), scenario.partitions, flags=flags)
        stream = Stream(job, stub, random.Random(seed), delivery == EXACTLY_ONCE, say)
        stream.planned = scenario.records[quick]
        verdict, problem = None, ""
        try:
            scenario.act(stream, scenario.faults[quick])
            verdict = stream.verdict()
        except NotHereError as error:
            problem = f"{NOT_RUN}: {error}"
        except Exception as error:  # noqa: BLE001  # the others are still to be played
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            say("".join(traceback.format_exception(error)))
        answered = stub.faults.rows_answered
        outcome = Outcome(
            scenario=scenario,
            delivery=delivery,
            seed=seed,
            faults=stream.faults,
            pauses=tuple(stream.pauses),
            asked_twice=max(0, answered - len(stream.values)) / max(1, len(stream.values)),
            seconds=time.monotonic() - began,
            verdict=verdict,
            problem=problem,
            said=_most_said(job.started),
        )
        if outcome.failed:
            say(_evidence(job.started, LOGS / f"{scenario.name}-{delivery}-{seed}.log"))
        return outcome


def _evidence(processes: Sequence[Scoring], log: Path) -> str:
    """Keeps all that the processes have printed; returns where it is, and the last lines of each."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("\n".join(str(process) for process in processes))
    ends = ["\n".join(str(process).splitlines()[-LAST_LINES:]) for process in processes]
    return "\n\n".join([f"all that the processes have printed: {log}", *ends])


def _most_said(processes: list[Scoring], most: int = 3) -> tuple[str, ...]:
    """The warnings and errors that the processes printed most often, without what differs."""
    lines: Counter[str] = Counter()
    for process in processes:
        for line in (process.stdout + process.stderr).splitlines():
            text = _TIME.sub("", line).strip()
            if re.search(r"warning|error|waiting|rolled back|starting a new|draining|down", text, re.IGNORECASE):
                lines[textwrap.shorten(_NUMBER.sub("N", text), SHOWN, placeholder="")] += 1  # not in the middle of a flag
    return tuple(f"{text} (×{count})" if count > 1 else text for text, count in lines.most_common(most))
