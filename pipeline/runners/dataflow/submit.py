"""Hands a job to Dataflow: the graph and its files are staged, the job is created, and this process ends.

A streaming job has no end to wait for; whoever started it may go. It goes on until it is drained or cancelled, by
``python -m pipeline.dataflow_job`` or ``gcloud``. Under a flex template there is no job here at all: ``--template_location``
makes Beam write the job's description to that place, and Dataflow's launcher creates it from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline.build import build
from pipeline.cli.names import DATAFLOW
from pipeline.job import Job


@dataclasses.dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission.

    Attributes:
        name: The job's name, by which ``--update`` finds it.
        job_id: Dataflow's id; ``None`` where only its description was written, for a flex template.
        project: The project.
        region: The region.
    """

    name: str
    job_id: str | None
    project: str
    region: str

    def lines(self) -> list[str]:
        """What a person wants to know, a line each."""
        if self.job_id is None:
            return [f"the job {self.name} is described for the flex template's launcher"]
        where = f"--project={self.project} --region={self.region}"
        return [
            f"submitted {self.name} to Dataflow: job {self.job_id}",
            f"  watch   https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.job_id}?project={self.project}",
            f"  drain   python -m pipeline.dataflow_job drain {self.job_id} {where}",
            f"  update  the same command with --update --job_name={self.name}",
        ]


def pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options of a streaming job; nothing of ours, and so no secret, is among them.

    No main session: what is in ``__main__`` here is this command, which nothing on a worker needs.
    """
    return PipelineOptions([*beam_args, "--streaming", "--no_save_main_session", f"--runner={DATAFLOW}"])


def submit(job: Job, beam_args: Sequence[str]) -> Submitted:
    """Stages the job's files and creates it. Does not wait for it to run.

    Raises:
        Exception: Whatever Beam's runner raises, if staging or creating fails.
    """
    options = pipeline_options(beam_args)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job)
    result = pipeline.run()
    cloud = options.view_as(GoogleCloudOptions)
    return Submitted(cloud.job_name, result.job_id() if result.has_job else None, cloud.project, cloud.region)
