"""Beam's local engine, made fit for a stream.

``--runner=DirectRunner`` first tries to download a Prism binary; here every machine gets the same engine: ``FnApiRunner``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipeline.build import Job, build


def close_metrics_leak() -> None:
    """Keeps memory flat over the bundles of a stream.

    FnApiRunner consolidates metrics with a generator over the bundle's own and all former ones, which it chains up bundle
    after bundle without ever running it: some 20 KB each. A list in its place is consolidated at once.
    """
    original = fn_runner.consolidate_monitoring_infos
    if getattr(original, "closes_leak", False):
        return

    def consolidate(*arguments: Any, **named: Any) -> list[Any]:
        return list(original(*arguments, **named))

    consolidate.closes_leak = True  # type: ignore[attr-defined]  # a mark, so that it is done once
    fn_runner.consolidate_monitoring_infos = consolidate


def run(job: Job, runner: str, beam_args: Sequence[str]) -> None:
    """Runs the job to its end, in this process if ``runner`` is the local engine.

    Raises:
        RuntimeError: A stage failed; the text holds the trace, the cause itself was told to the observer.
    """
    close_metrics_leak()
    local = runner in ("DirectRunner", "FnApiRunner")
    options = PipelineOptions([*beam_args, "--streaming"] + ([] if local else [f"--runner={runner}"]))
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner() if local else None, options=options)
    build(pipeline, job)
    pipeline.run().wait_until_finish()
