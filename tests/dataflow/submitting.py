"""Submits a job to the servers that stand for Google's, and reads what was staged there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from apache_beam.portability.api import beam_runner_api_pb2 as proto

from tests.google_cloud import GoogleCloud
from tests.kafka_broker import ROOT

IMAGE = "europe-docker.pkg.dev/demo-project/images/kafka-model-scoring-worker:1"
SUBMIT_S = 400
"""How long anything may take, on a busy machine."""


def run(cloud: GoogleCloud, *flags: str, command: tuple[str, ...] = ("-m", "pipeline")) -> subprocess.CompletedProcess[str]:
    """Runs the command with the stub's Google around it."""
    return subprocess.run(
        [sys.executable, *command, *flags],
        env=os.environ | cloud.environ | {"PYTHONPATH": str(ROOT)},  # as installed: for a script elsewhere
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SUBMIT_S,
    )


def job_named(cloud: GoogleCloud, name: str) -> dict[str, Any]:
    """The last job of that name."""
    return [job for job in cloud.jobs.values() if job["name"] == name][-1]


def staged(cloud: GoogleCloud, job: dict[str, Any]) -> proto.Pipeline:
    """The pipeline that a job's options point to."""
    return proto.Pipeline.FromString(cloud.object(job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]))
