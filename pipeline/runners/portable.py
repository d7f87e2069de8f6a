"""Runners other than the DirectRunner: submits the job by its name, and waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.build import build
from pipeline.job import Job
from pipeline.runners.beam_internals import keep_worker_pool_local
from pipeline.runners.follow_java import Follower, follow
from transforms.kafka.beam.gate import open_gate


def run(job: Job, runner: str, beam_args: Sequence[str]) -> None:
    """Submits the job and waits for its end.

    Raises:
        ContractError: Beam's internals are not as in the tested versions.
        RuntimeError: The job failed. The text holds the trace.
    """
    keep_worker_pool_local()
    threading.excepthook = _but_lost_connections(threading.excepthook)
    gate = open_gate(job.stop)
    pipeline = beam.Pipeline(options=PipelineOptions([*beam_args, "--streaming", f"--runner={runner}"]))
    build(pipeline, job)
    if job.java is None or not job.java.workers_are_here:
        pipeline.run().wait_until_finish()
        return
    with contextlib.closing(Follower(job.kafka, job.java, gate)) as follower:  # made before the job can write anything
        follow(pipeline.run(), job, follower, gate)


def _but_lost_connections(hook: Any) -> Any:
    """Wraps ``threading.excepthook`` to ignore errors of Beam's worker threads after the runner has gone."""

    def tell(arguments: Any) -> None:
        if not issubclass(arguments.exc_type, grpc.RpcError):
            hook(arguments)

    return tell
