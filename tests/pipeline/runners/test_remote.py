"""A job whose workers are elsewhere: when it is said to have ended, when it is ended, and what is said meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from pipeline.reporting.status import Status
from pipeline.runners import remote
from pipeline.runners.remote import JobState, watch
from transforms.kafka.admin.progress import Progress
from transforms.kafka.config import Partition
from transforms.kafka.stop import StopConditions

A = ("in", 0)


class FakeJob:
    """A job that goes through states, and is cancelled."""

    def __init__(self, *states: JobState):
        self._states = list(states)
        self.cancelled = False

    def state(self) -> JobState:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def failure(self) -> str:
        return "a task manager is gone"

    def cancel(self) -> str:
        self.cancelled = True
        return "CANCELED"


class FakeProgress:
    still_s = 0.0
    committed = 0

    def look(self) -> int:
        self.committed += 100
        return self.committed

    def left(self) -> int:
        return 7

    identities: Mapping[str, str] = MappingProxyType({})

    def end_offsets(self, topic: str) -> Mapping[Partition, int] | None:
        return {A: 9}

    def has_committed(self, end_offsets: Mapping[Partition, int]) -> bool:
        return self.committed >= (300 if end_offsets == {A: 5} else 500)


class Said(Status):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


RUNNING = JobState("RUNNING")


class Time:
    """A clock that only sleeping moves; every sleep lasts as long as it takes until the next line is due."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, remote.SAY_S)


def watched(
    job: FakeJob,
    stop: StopConditions | None = None,
    drain: bool = False,
    still_s: float = 0.0,
    identities: Mapping[str, str] | None = None,
) -> tuple[str, Said]:
    progress, said, times = FakeProgress(), Said(), Time()
    progress.still_s, progress.identities = still_s, identities or {}
    watched_progress = cast(Progress, progress)
    state = watch(job, watched_progress, stop or StopConditions(), said, lambda: drain, times.clock, times.sleep)
    return state, said


def test_a_job_that_ends_by_itself_is_not_cancelled() -> None:
    job = FakeJob(RUNNING, RUNNING, JobState("FAILED"))
    assert watched(job)[0] == "FAILED"
    assert not job.cancelled


def test_a_signal_cancels_it() -> None:
    job = FakeJob(RUNNING)
    state, said = watched(job, drain=True)
    assert (state, job.cancelled) == ("CANCELED", True)
    assert "cancelling" in said.lines[-1]


def test_until_end_cancels_it_once_the_group_has_committed_the_end_offsets() -> None:
    job = FakeJob(RUNNING)
    _, said = watched(job, StopConditions(end_offsets=((A, 5),), pending=(A,)))
    assert job.cancelled
    assert [line for line in said.lines if line.startswith("200 records, 100/s") and "7 to go; running" in line]


def test_a_topic_that_is_made_again_is_read_to_its_own_ends() -> None:
    job = FakeJob(RUNNING)
    stop = StopConditions(end_offsets=((A, 5),), identities=(("in", "a@c"),), pending=(A,))
    _, said = watched(job, stop, identities={"in": "b@c"})
    assert job.cancelled
    assert [line for line in said.lines if line.startswith("400 records")]


def test_after_its_time_it_is_cancelled_when_nothing_moves_any_more() -> None:
    job = FakeJob(*[RUNNING] * 3, JobState("FAILED"))
    assert watched(job, StopConditions(drain_at_s=time.time() - 1), still_s=0.0)[0] == "FAILED", "it moves still"
    job = FakeJob(RUNNING)
    watched(job, StopConditions(drain_at_s=time.time() - 1), still_s=remote.STILL_S)
    assert job.cancelled
    job = FakeJob(RUNNING)
    watched(job, StopConditions(drain_at_s=time.time() - remote.STILL_AT_MOST_S), still_s=0.0)
    assert job.cancelled, "it does not wait for ever"


def test_restarts_are_told_with_their_reason() -> None:
    states = JobState("RESTARTING", 1000), JobState("RUNNING", 1000), JobState("RUNNING", 2000), JobState("FAILED", 2000)
    _, said = watched(FakeJob(RUNNING, *states))
    lines = [line for line in said.lines if "started the job again" in line]
    assert ["restart 1" in lines[0], "restart 2" in lines[1], len(lines)] == [True, True, 2], (
        "the one that is over by now, too"
    )
    assert "a task manager is gone" in lines[0]
