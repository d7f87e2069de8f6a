"""A job on a cluster: when it is said to have ended, when it is ended, and what is said meanwhile."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import pytest

from pipeline.reporting.status import Status
from pipeline.runners.flink import job as remote
from pipeline.runners.flink.job import RemoteError, RemoteJob, watch
from pipeline.runners.flink.rest import FlinkRest, FlinkRestError, JobState
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
    watched_job, watched_progress = cast(RemoteJob, job), cast(Progress, progress)
    state = watch(watched_job, watched_progress, stop or StopConditions(), said, lambda: drain, times.clock, times.sleep)
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


# ---------------------------------------------------------------------- Flink's REST interface


class FakeFlink:
    """As much of it as is asked."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.exception = ""
        self.cancels: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = outer.answer(self.path.strip("/"))
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def do_PATCH(self) -> None:
                outer.cancels.append(self.path)
                for job in outer.jobs:
                    job["state"] = "CANCELED"
                self.send_response(202)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, path: str) -> Any:
        if path == "jobs/overview":
            return {"jobs": self.jobs}
        job = next((job for job in self.jobs if path.split("/")[1] == job["jid"]), None)
        if job is None:
            return None
        if path.endswith("exceptions"):
            return {"root-exception": self.exception}
        return {"state": job["state"], "timestamps": {"RUNNING": 900, "RESTARTING": 800}}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    fake = FakeFlink()
    yield fake
    fake.close()


def rest(flink: FakeFlink) -> FlinkRest:
    return FlinkRest(f"127.0.0.1:{flink.server.server_port}")


def job_of(jid: str, name: str, state: str = "RUNNING", start: int = 1) -> dict[str, Any]:
    return {"jid": jid, "name": name, "state": state, "start-time": start}


def test_the_newest_job_of_a_name_is_found(flink: FakeFlink) -> None:
    assert rest(flink).find("a") is None
    flink.jobs = [job_of("1", "a", start=1), job_of("2", "a", start=2), job_of("3", "b", start=3)]
    assert rest(flink).find("a") == "2"
    assert rest(flink).state("2") == JobState("RUNNING", 800)


def test_running_jobs_of_a_group(flink: FakeFlink) -> None:
    """And of no group whose name only begins so."""
    flink.jobs = [
        job_of("1", "g-1a2b3c4d"),
        job_of("2", "g-00000002", "CANCELED"),
        job_of("3", "o-1a2b3c4d"),
        job_of("4", "g-eu-1a2b3c4d"),
    ]
    assert rest(flink).running("g") == ["g-1a2b3c4d"]


def test_our_own_error_in_a_trace_is_what_a_person_reads(flink: FakeFlink) -> None:
    flink.jobs = [job_of("1", "a")]
    flink.exception = (
        "java.lang.RuntimeException: Failed\n\tat some.Java(Code.java:1)\nCaused by: Error received from SDK harness:\n"
        'Traceback (most recent call last):\n  File "x.py"\n'
        "transforms.errors.KafkaError: writing to out: the topic does not exist (any more)\n\tat more.Java(Code.java:2)\n"
    )
    assert rest(flink).failure("1") == "transforms.errors.KafkaError: writing to out: the topic does not exist (any more)"
    assert rest(flink).failure("none") == ""


def test_no_flink_there() -> None:
    with pytest.raises(FlinkRestError, match=r"127\.0\.0\.1:1"):
        FlinkRest("127.0.0.1:1").find("a")


class Result:
    """Beam's, of a job server that goes on waiting, or refuses."""

    def __init__(self, error: str | None = None):
        self._error = error

    def wait_until_finish(self) -> None:
        if self._error:
            raise RuntimeError(self._error)


def test_cancelling_waits_for_flink(flink: FakeFlink) -> None:
    flink.jobs = [job_of("1", "a")]
    job = RemoteJob(Result(), rest(flink), "a", Time().sleep)
    assert job.cancel() == "CANCELED"
    assert flink.cancels == ["/jobs/1?mode=cancel"]


def test_what_the_job_server_refuses_never_comes_to_flink(flink: FakeFlink) -> None:
    job = RemoteJob(Result("Pipeline failed:\nno such coder"), rest(flink), "a")
    job._waiting.join()
    with pytest.raises(RemoteError, match="no such coder"):
        job.state()
