"""A job server of which nothing is known: what it is asked for, and a job that it has taken."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator, Sequence

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as api_grpc

from pipeline.runners.job_service import SILENT_S, SubmittedJob, check_job_server, runner_of
from pipeline.runners.remote import JobState, RemoteError, last_line
from transforms.errors import ContractError, NotReadyError

JAVA = "org.apache.beam"


class JobServer(api_grpc.JobServiceServicer):
    """Says what options it has. The names are those of Beam 2.62's job servers for Spark and Flink, as they were seen."""

    def __init__(self, groups: Sequence[str]):
        self._groups = groups

    def DescribePipelineOptions(self, request: object, context: object) -> api.DescribePipelineOptionsResponse:
        options = [api.PipelineOptionDescriptor(name=f"option{i}", group=group) for i, group in enumerate(self._groups)]
        return api.DescribePipelineOptionsResponse(options=options)


@contextlib.contextmanager
def serving(servicer: api_grpc.JobServiceServicer | None) -> Iterator[str]:
    """A gRPC server; without a servicer, one of something else."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        if servicer is not None:
            api_grpc.add_JobServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def refused(*groups: str) -> str:
    with serving(JobServer(groups)) as endpoint, pytest.raises(ContractError) as raised:
        check_job_server(endpoint)
    assert str(raised.value).startswith(f"--job_endpoint={endpoint}: ")
    return str(raised.value)


def test_a_runner_that_is_known_to_lack_something_is_refused_with_the_reason() -> None:
    text = refused(f"{JAVA}.sdk.options.PipelineOptions", f"{JAVA}.runners.spark.SparkPortableStreamingPipelineOptions")
    assert "SparkRunner" in text
    assert "no timers in streaming" in text


def test_flinks_wants_to_be_named() -> None:
    assert "give --flink_master=HOST:PORT" in refused(f"{JAVA}.runners.flink.FlinkPipelineOptions")


def test_a_job_server_that_names_no_runner_is_taken() -> None:
    """Prism says that it has no options; another one may not know the question."""
    for servicer in (JobServer(()), JobServer((f"{JAVA}.sdk.options.PipelineOptions",)), api_grpc.JobServiceServicer()):
        with serving(servicer) as endpoint:
            check_job_server(endpoint)
    assert runner_of((f"{JAVA}.runners.samza.SamzaPipelineOptions",)) == "SamzaRunner"


def test_what_is_no_job_server_is_told() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        server.stop(None).wait()
        with pytest.raises(NotReadyError, match="no job server of Beam answers there"):
            check_job_server(f"127.0.0.1:{port}", ask_s=0.1)


def test_a_grpc_server_of_something_else_is_told() -> None:
    """The model server's port: it was found out when the job was handed to it, and the flag was not named."""
    with serving(None) as endpoint, pytest.raises(ContractError, match=f"--job_endpoint={endpoint}: no job server of Beam"):
        check_job_server(endpoint)


def test_the_last_line_of_grpcs_error_is_what_the_server_said() -> None:
    """Its text is a trace, whose last line is a bracket."""
    with serving(None) as endpoint, grpc.insecure_channel(endpoint) as channel, pytest.raises(grpc.RpcError) as raised:
        api_grpc.JobServiceStub(channel).GetJobs(api.GetJobsRequest())
    assert last_line(raised.value) == "Method not found!"


class Result:
    """Beam's, of a job that goes through states; ``None`` is a job server that does not answer."""

    def __init__(self, *states: str | None, error: str = ""):
        self._states, self._error = list(states), error
        self.cancelled = False
        self._ended = threading.Event()

    @property
    def state(self) -> str:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if self.cancelled:
            state = "CANCELLED"
        if state is None:
            raise ConnectionError("Trying to connect:\nnobody is there")
        return state

    def cancel(self) -> None:
        self.cancelled = True

    def wait_until_finish(self) -> None:
        if self._error:
            raise RuntimeError(self._error)


class Clock:
    now = 0.0

    def read(self) -> float:
        return self.now


def test_beams_states_are_told_as_flinks() -> None:
    job = SubmittedJob(Result("STARTING", "RUNNING", "DONE"), "a")
    assert [job.state() for _ in range(3)] == [JobState("STARTING"), JobState("RUNNING"), JobState("FINISHED")]
    assert SubmittedJob(Result("FAILED", error="Pipeline failed:\nno such coder"), "a").failure() == "no such coder"


def test_a_cancelled_job_is_waited_for() -> None:
    result = Result("RUNNING")
    assert SubmittedJob(result, "a", sleep=lambda _: None).cancel() == "CANCELED"
    assert result.cancelled


def test_a_job_server_may_be_silent_for_a_while_and_not_for_ever() -> None:
    clock = Clock()
    job = SubmittedJob(Result("RUNNING", None), "group-1", clock.read)
    assert job.state() == JobState("RUNNING")
    clock.now = SILENT_S
    assert job.state() == JobState("RUNNING"), "the last known"
    clock.now = SILENT_S + 1
    with pytest.raises(RemoteError, match=r"group-1 may be running still: nobody is there"):
        job.state()


def test_a_job_server_that_takes_a_call_and_never_answers_is_silent() -> None:
    """Beam's client asks for the state, and cancels, without a deadline."""
    never, clock = threading.Event(), Clock()

    class Hangs(Result):
        @property
        def state(self) -> str:
            never.wait()
            return "RUNNING"

        def cancel(self) -> None:
            never.wait()

    job = SubmittedJob(Hangs("RUNNING"), "group-1", clock.read, answer_s=0.05)
    assert job.state() == JobState("CREATED"), "the last known"
    clock.now = SILENT_S + 1
    with pytest.raises(RemoteError, match=r"group-1 may be running still: no answer within"):
        job.cancel()
    never.set()
