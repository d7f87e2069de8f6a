"""``--runner=DirectRunner``: runs the job on Beam's ``FnApiRunner``, with two patches for streams.

Beam's own DirectRunner first tries to download a Prism binary. Here every machine uses the same runner, ``FnApiRunner``.
"""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipeline.build import build
from pipeline.job import Job
from pipeline.runners.beam_internals import close_metrics_leak, stop_state_sampling


def run(job: Job, beam_args: Sequence[str]) -> None:
    """Runs the job to its end, in this process.

    Raises:
        ContractError: Beam's internals are not as in the tested versions.
        RuntimeError: A stage failed. The text holds the trace; the observer was called with the cause.
    """
    close_metrics_leak()
    stop_state_sampling()
    options = PipelineOptions([*beam_args, "--streaming"])
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner(), options=options)
    build(pipeline, job)
    pipeline.run().wait_until_finish()
