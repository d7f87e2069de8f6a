"""A runner of which only the job server is known (``PortableRunner`` with ``--job_endpoint``), with its workers elsewhere.

The source is the one for shards that move (``moving_loop.py``). It needs a runner that keeps state by key and fires timers
in real time. A job server can't be asked for that. It can be asked for its options: those of Beam's Java job servers name
the runner, and one that is known to lack something is refused.
"""

from __future__ import annotations

import functools
import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli.beam_values import FOREVER_S, beam_value
from pipeline.cli.config import Config
from pipeline.cli.rules.runners import LACKS
from pipeline.reporting.status import Status
from pipeline.runners import remote
from pipeline.runners.moving_shards import shards
from pipeline.runners.remote import (
    ANSWER_S,
    CANCELED,
    CANCELLING,
    CHECK_S,
    FAILED,
    FINISHED,
    JobState,
    RemoteError,
    Waiting,
    cancelled,
    in_time,
    last_line,
)
from transforms.errors import ContractError, NotReadyError
from transforms.kafka.config import Partition

if TYPE_CHECKING:
    from pipeline.job import Job
    from transforms.kafka.native.shards import MovingShards

ASK_S = 20.0
"""How long the job server may take to say what options it has."""

SILENT_S = 60.0
"""How long the job server may be silent before the job counts as lost."""

_STATES = {"DONE": FINISHED, "DRAINED": FINISHED, "UPDATED": FINISHED, "CANCELLED": CANCELED, "FAILED": FAILED}

_OPTIONS_OF = {
    "runners.flink.": "FlinkRunner",
    "runners.spark.": "SparkRunner",
    "runners.samza.": "SamzaRunner",
    "runners.kafka.": "KafkaStreamsRunner",
}
"""A part of the name of the Java interface that declares a runner's options, and the runner."""


_NO_SUCH_SERVICE = re.compile(r"(?i)method not found|unknown service")
"""gRPC's own words where the service is not there: another server. One that lacks the method says "not implemented"."""


def check_job_server(endpoint: str, ask_s: float = ASK_S) -> None:
    """Asks a job server which runner's it is.

    Args:
        endpoint: ``--job_endpoint``.
        ask_s: How long it may take to answer, in seconds.

    Raises:
        NotReadyError: It does not answer.
        ContractError: Its runner is known to lack something, or wants to be named otherwise; or it is no job server.
    """
    runner = runner_of(ask_job_server(endpoint, ask_s))
    if runner == "FlinkRunner":
        raise ContractError(
            f"--job_endpoint={endpoint}: this is Flink's job server; give --flink_master=HOST:PORT, too, Flink's REST "
            f"interface: by it the job is watched and ended, and each shard gets a subtask of its own"
        )
    if runner is not None:
        raise ContractError(
            f"--job_endpoint={endpoint}: this is the job server of Beam's {runner}, which is not supported: {LACKS[runner]}"
        )


def runner_of(groups: Sequence[str]) -> str | None:
    """Returns the runner whose options are among those of a job server; ``None`` if it is none that is known here.

    Args:
        groups: The names of the Java interfaces that declare the options.
    """
    return next((runner for part, runner in _OPTIONS_OF.items() if any(part in group for group in groups)), None)


def ask_job_server(endpoint: str, ask_s: float = ASK_S) -> list[str]:
    """Returns the names of the Java interfaces that declare the options of a job server; none if it does not tell.

    Raises:
        NotReadyError: It does not answer.
        ContractError: Somebody else does.
    """
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2 as api
    from apache_beam.portability.api import beam_job_api_pb2_grpc as api_grpc

    try:
        with grpc.insecure_channel(endpoint) as channel:
            service: Any = api_grpc.JobServiceStub(channel)
            request = api.DescribePipelineOptionsRequest()
            answer = service.DescribePipelineOptions(request, timeout=ask_s, wait_for_ready=True)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED and not _NO_SUCH_SERVICE.search(error.details() or ""):
            return []
        away = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        refused = NotReadyError if away else ContractError
        raise refused(
            f"--job_endpoint={endpoint}: no job server of Beam answers there: {error.details() or error.code().name}"
        ) from error
    return sorted({option.group for option in answer.options})


class SubmittedJob:
    """A job that a job server has taken.

    Args:
        result: Beam's.
        name: Under which it was submitted.
        clock: For tests.
        sleep: For tests.
        answer_s: How long one call of the job server may take.
    """

    def __init__(
        self,
        result: Any,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        answer_s: float = ANSWER_S,
    ):
        self._result, self._name, self._clock, self._sleep = result, name, clock, sleep
        self._answer_s = answer_s
        self._last, self._heard_at = JobState("CREATED"), clock()
        self._waiting = Waiting(result)

    def state(self) -> JobState:
        """Returns the job's state; the last known one while the job server does not answer.

        Raises:
            RemoteError: It has not answered for long.
        """
        try:
            state = str(in_time(lambda: self._result.state, self._answer_s))
        except Exception as error:
            if self._clock() - self._heard_at > SILENT_S:
                raise RemoteError(
                    f"the job server has not answered for {SILENT_S:.0f} s, and {self._name} may be running still: "
                    f"{last_line(error)}"
                ) from error
            return self._last
        self._heard_at, self._last = self._clock(), JobState(_STATES.get(state, state))
        return self._last

    def failure(self) -> str:
        """Returns why the job failed."""
        self._waiting.join(CHECK_S)
        return self._waiting.reason or "see the runner's own log"

    def cancel(self) -> str:
        """Cancels the job; returns its final state. Waits a minute at most.

        Raises:
            RemoteError: The job server does not answer, or the job runs on.
        """
        return cancelled(self._name, lambda: self.state().state, self._ask_to_cancel, self._sleep)

    def _ask_to_cancel(self, state: str) -> str:
        if state != CANCELLING:
            try:
                in_time(self._result.cancel, self._answer_s)
            except Exception as error:  # noqa: BLE001  # of gRPC: the job may have ended by itself
                return last_line(error)
        return ""


def run(config: Config, job: Job, partitions: Sequence[Partition], status: Status) -> int:
    """Submits the job and watches it until it ends.

    Returns:
        The exit status.
    """
    divided = shards(partitions, config.beam_args)
    return remote.run(config, job, partitions, status, lambda: submit(job, config, divided), divided.count)


def submit(job: Job, config: Config, divided: MovingShards) -> SubmittedJob:
    """Submits the job.

    Raises:
        RemoteError: The job server does not answer, or refuses the job.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.build import build
    from pipeline.runners.worker_process import prepare

    name = beam_value(config.beam_args, "job_name") or f"{config.group_id}-{uuid.uuid4().hex[:8]}"
    defaults = {"job_name": name, "job_server_timeout": str(FOREVER_S)}
    ours = [f"--{key}={value}" for key, value in defaults.items() if beam_value(config.beam_args, key) is None]
    options = PipelineOptions(
        [*config.beam_args, *ours, "--streaming", "--no_save_main_session", f"--runner={config.runner}"]
    )
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, divided, functools.partial(prepare, job.telemetry))
    try:
        return SubmittedJob(pipeline.run(), name)
    except Exception as error:
        where = beam_value(config.beam_args, "job_endpoint")
        raise RemoteError(f"--runner={config.runner}: {where} did not take the job: {last_line(error)}") from error
