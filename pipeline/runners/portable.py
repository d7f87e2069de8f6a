"""Runners other than Beam's local engine: how they are told, and how their job is waited for."""

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
from pipeline.runners.follow_java import Follower, follow
from transforms.kafka.beam.gate import open_gate


def run(job: Job, runner: str, beam_args: Sequence[str]) -> None:
    """Submits the job and waits for its end.

    Raises:
        RuntimeError: It failed; the text holds the trace.
    """
    threading.excepthook = _but_lost_connections(threading.excepthook)
    gate = open_gate(job.stop)
    pipeline = beam.Pipeline(options=PipelineOptions([*beam_args, "--streaming", f"--runner={runner}"]))
    build(pipeline, job)
    if job.java is None or not job.java.workers_are_here:
        pipeline.run().wait_until_finish()
        return
    with contextlib.closing(Follower(job.kafka, job.java, gate)) as follower:  # before anything can have been written
        follow(pipeline.run(), job, follower, gate)


def _but_lost_connections(hook: Any) -> Any:
    """A hook that is silent on the threads of Beam's workers whose runner has gone: how a job failed we say ourselves."""

    def tell(arguments: Any) -> None:
        if not issubclass(arguments.exc_type, grpc.RpcError):
            hook(arguments)

    return tell
