"""Runs the very pipeline that was staged for Dataflow on this machine: on Prism, with local workers.

Two things are changed, because nothing here has a container engine, and Prism not all of Dataflow's features:

* the environments: where the staged pipeline names container images, local workers are named (the same Python package, in
  Beam's worker pool; the same jars, in the expansion service's loopback worker);
* "requires stable input", by which the source commits the group's offsets behind a checkpoint: Prism does not know it.

All else (transforms, coders, windows, payloads with their Kafka properties) is what Dataflow would get, byte by byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as api_grpc
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from apache_beam.portability.api import endpoints_pb2
from google.protobuf import json_format, struct_pb2

from pipeline.runners.prism import with_prism
from transforms.child_process import child_server, free_port
from transforms.kafka.beam.expansion.service import expansion_service

STABLE_INPUT = common_urns.requirements.REQUIRES_STABLE_INPUT.urn
OVER = ("DONE", "FAILED", "CANCELLED", "DRAINED")


def images(pipeline: proto.Pipeline) -> dict[str, str]:
    """Returns environment id to container image."""
    return {
        name: proto.DockerPayload.FromString(environment.payload).container_image
        for name, environment in pipeline.components.environments.items()
        if environment.urn == common_urns.environments.DOCKER.urn
    }


def localized(pipeline: proto.Pipeline, python_image: str, python: str, java: str | None) -> proto.Pipeline:
    """Returns a copy whose environments are local workers.

    Args:
        pipeline: As staged.
        python_image: The image of our package.
        python: ``host:port`` of the Python worker pool.
        java: ``host:port`` of the Java worker; ``None`` for a pipeline without one.
    """
    local = proto.Pipeline()
    local.CopyFrom(pipeline)
    for name, image in images(pipeline).items():
        environment = local.components.environments[name]
        url = python if image == python_image or java is None else java
        payload = proto.ExternalPayload(endpoint=endpoints_pb2.ApiServiceDescriptor(url=url))
        environment.urn, environment.payload = common_urns.environments.EXTERNAL.urn, payload.SerializeToString()
        del environment.dependencies[:]  # what is staged in the (stub of a) bucket, the local workers have already
    for transform in local.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            do = proto.ParDoPayload.FromString(transform.spec.payload)
            do.requires_stable_input = False
            transform.spec.payload = do.SerializeToString()
    kept = [requirement for requirement in local.requirements if requirement != STABLE_INPUT]
    del local.requirements[:]
    local.requirements.extend(kept)
    return local


class StagedJob:
    """A pipeline that runs on a job service.

    Args:
        service: The stub of the job service.
        pipeline: With the environments that are there.
        more: Options of the runner.
    """

    def __init__(self, service: Any, pipeline: proto.Pipeline, more: Mapping[str, Any]):
        options = {"streaming": True, "experiments": ["beam_fn_api"], **more}
        options = {f"beam:option:{name}:v1": value for name, value in options.items()}
        struct = json_format.Parse(json.dumps(options), struct_pb2.Struct())
        request = api.PrepareJobRequest(job_name="staged", pipeline=pipeline, pipeline_options=struct)
        prepared = service.Prepare(request, timeout=60)
        self._service = service
        self._id = service.Run(api.RunJobRequest(preparation_id=prepared.preparation_id), timeout=60).job_id

    @property
    def state(self) -> str:
        """Such as ``RUNNING``."""
        answer = self._service.GetState(api.GetJobStateRequest(job_id=self._id), timeout=10)
        return str(api.JobState.Enum.Name(answer.state))

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self.state not in OVER

    def __str__(self) -> str:
        return "\n".join([self.state, *self.messages()])

    def messages(self) -> list[str]:
        """What the runner has to say, up to now."""
        found: list[str] = []
        with contextlib.suppress(grpc.RpcError):
            stream = self._service.GetMessageStream(api.JobMessagesRequest(job_id=self._id), timeout=3)
            found.extend(message.message_response.message_text for message in stream)  # keeps what came before the time-out
        return found

    def cancel(self, timeout_s: float = 30) -> None:
        """Ends it."""
        with contextlib.suppress(grpc.RpcError):
            self._service.Cancel(api.CancelJobRequest(job_id=self._id), timeout=10)
            stop_at = time.monotonic() + timeout_s
            while self.state not in OVER and time.monotonic() < stop_at:
                time.sleep(0.2)


@contextlib.contextmanager
def running_on_prism(pipeline: proto.Pipeline, python_image: str, *, with_java: bool = True) -> Iterator[StagedJob]:
    """Runs a staged pipeline while the block runs."""
    port = free_port()
    path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"  # the pool starts workers by the name "python"
    pool = ["env", path, sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with (
        child_server(pool, port, "Beam's Python worker pool"),
        expansion_service(True, print) if with_java else contextlib.nullcontext() as java,
        with_prism((), print) as prism,
    ):
        [endpoint] = [flag.partition("=")[2] for flag in prism if flag.startswith("--job_endpoint=")]
        with running_on(endpoint, localized(pipeline, python_image, f"localhost:{port}", java)) as job:
            yield job


@contextlib.contextmanager
def running_on(endpoint: str, pipeline: proto.Pipeline, **options: Any) -> Iterator[StagedJob]:
    """Runs a pipeline on the job service of any runner while the block runs.

    Args:
        endpoint: The job service.
        pipeline: Its workers are there: ``localized``.
        options: The runner's.
    """
    with grpc.insecure_channel(endpoint) as channel:
        job = StagedJob(api_grpc.JobServiceStub(channel), pipeline, options)
        try:
            yield job
        finally:
            job.cancel()
