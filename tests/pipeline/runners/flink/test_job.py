"""A job on a Flink cluster: found, read and cancelled by Flink's REST interface."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.runners.flink.job import RemoteJob
from pipeline.runners.flink.rest import FlinkRest, FlinkRestError
from pipeline.runners.remote import JobState, RemoteError


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
    job = RemoteJob(Result(), rest(flink), "a", lambda _: None)
    assert job.cancel() == "CANCELED"
    assert flink.cancels == ["/jobs/1?mode=cancel"]


def test_what_the_job_server_refuses_never_comes_to_flink(flink: FakeFlink) -> None:
    job = RemoteJob(Result("Pipeline failed:\nno such coder"), rest(flink), "a")
    job._waiting.join()
    with pytest.raises(RemoteError, match="no such coder"):
        job.state()
