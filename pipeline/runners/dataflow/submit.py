"""Submits a job to Dataflow: stages the graph and the files, creates the job, and ends this process.

A streaming job has no end, so this process does not wait for it. ``python -m pipeline.dataflow_job`` or ``gcloud`` drains or
cancels the job; until then it runs. Under a flex template no job is created here: with ``--template_location`` Beam writes
the job's description to that path, and Dataflow's launcher creates the job from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline.build import build
from pipeline.cli.names import DATAFLOW
from pipeline.cli.program import program
from pipeline.job import Job
from pipeline.runners.worker_process import prepare
from transforms.kafka.native.shards import MovingShards


@dataclasses.dataclass(frozen=True, slots=True)
class Submitted:
    """The result of a submission.

    Attributes:
        name: The job's name, which ``--update`` needs.
        job_id: Dataflow's id; ``None`` if only the description was written, for a flex template.
        project: The project.
        region: The region.
    """

    name: str
    job_id: str | None
    project: str
    region: str

    def lines(self) -> list[str]:
        """Returns the lines to print for the user."""
        if self.job_id is None:
            return [f"the job {self.name} is described for the flex template's launcher"]
        where = f"--project={self.project} --region={self.region}"
        return [
            f"submitted {self.name} to Dataflow: job {self.job_id}",
            f"  watch   https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.job_id}?project={self.project}",
            f"  drain   {program('dataflow_job')} drain {self.job_id} {where}",
            f"  update  the same command with --update --job_name={self.name}",
        ]


def pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options of a streaming job. They hold none of this project's flags, and so no secret.

    The main session is not saved: ``__main__`` is this command, which workers do not need.
    """
    return PipelineOptions([*beam_args, "--streaming", "--no_save_main_session", f"--runner={DATAFLOW}"])


def submit(job: Job, beam_args: Sequence[str], shards: MovingShards | None = None) -> Submitted:
    """Stages the job's files and creates the job. Does not wait until the job runs.

    Args:
        job: The job.
        beam_args: Beam's own options.
        shards: The shards of ``--kafka_io=native``.

    Raises:
        Exception: Staging or creating the job failed; Beam's runner raised the exception.
    """
    options = pipeline_options(beam_args)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, shards, None if shards is None else prepare)
    result = pipeline.run()
    cloud = options.view_as(GoogleCloudOptions)
    return Submitted(cloud.job_name, result.job_id() if result.has_job else None, cloud.project, cloud.region)
