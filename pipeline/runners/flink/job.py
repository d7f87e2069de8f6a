"""A job on a Flink cluster: submits it, reads its state from Flink and cancels it there. ``remote.py`` watches it."""

from __future__ import annotations

import contextlib
import functools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli.beam_values import beam_value
from pipeline.cli.config import Config
from pipeline.reporting.status import Status
from pipeline.runners import remote
from pipeline.runners.flink import options as flink
from pipeline.runners.flink.rest import FlinkRest, FlinkRestError
from pipeline.runners.remote import CANCELLING, JobState, RemoteError, Waiting, cancelled, last_line
from transforms.kafka.config import Partition

if TYPE_CHECKING:
    from pipeline.job import Job


class RemoteJob:
    """A job that has been submitted.

    Args:
        result: Beam's.
        rest: Flink's.
        name: Under which it was submitted.
        sleep: For tests.
    """

    def __init__(self, result: Any, rest: FlinkRest, name: str, sleep: Callable[[float], None] = time.sleep):
        self._rest, self._name, self._sleep = rest, name, sleep
        self._id: str | None = None
        self._last = JobState("CREATED")
        self._waiting = Waiting(result)

    def state(self) -> JobState:
        """Returns the job's state; the last known one while Flink does not answer.

        Raises:
            RemoteError: The job server refused the job.
        """
        with contextlib.suppress(FlinkRestError):
            self._id = self._id or self._rest.find(self._name)
            if self._id is not None:
                self._last = self._rest.state(self._id)
                return self._last
            if self._waiting.reason is not None:
                raise RemoteError(f"the job server refused the job: {self._waiting.reason}")
        return self._last

    def failure(self) -> str:
        """Returns why the job failed."""
        return (self._rest.failure(self._id) if self._id else "") or self._waiting.reason or "see Flink's pages"

    def cancel(self) -> str:
        """Cancels the job; returns its final state. Waits a minute at most.

        Raises:
            RemoteError: Flink does not answer.
        """
        return cancelled(self._name, lambda: self.state().state, self._ask_to_cancel, self._sleep)

    def _ask_to_cancel(self, state: str) -> str:
        if self._id is not None and state != CANCELLING:
            try:
                self._rest.cancel(self._id)
            except FlinkRestError as error:
                return str(error)
        return ""


def run(config: Config, job: Job, partitions: Sequence[Partition], status: Status) -> int:
    """Submits the job and watches it until it ends.

    Returns:
        The exit status.
    """
    return remote.run(config, job, partitions, status, lambda: submit(job, config), flink.parallelism(config))


def submit(job: Job, config: Config) -> RemoteJob:
    """Submits the job.

    Raises:
        RemoteError: Flink or the job server does not answer, or refuses the job.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.build import build
    from pipeline.runners.worker_process import prepare

    rest = FlinkRest(beam_value(config.beam_args, "flink_master") or "")
    name = f"{config.group_id}-{uuid.uuid4().hex[:8]}"
    options = PipelineOptions([*flink.beam_args(config), f"--job_name={name}", f"--runner={config.runner}", "--streaming"])
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, flink.shards(config), functools.partial(prepare, job.telemetry))
    try:
        if there := rest.running(config.group_id):
            raise RemoteError(
                f"--group_id={config.group_id}: Flink runs {', '.join(there)} for this group already; the two would take "
                "the partitions from each other. Cancel it first, or use another group"
            )
        return RemoteJob(pipeline.run(), rest, name)
    except FlinkRestError as error:
        raise RemoteError(f"--flink_master: Flink does not answer: {error}") from error
    except RemoteError:
        raise
    except Exception as error:
        where = beam_value(config.beam_args, "job_endpoint") or "its own job server"
        raise RemoteError(f"--runner={config.runner}: {where} did not take the job: {last_line(error)}") from error
