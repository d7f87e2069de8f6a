"""Beam's local engine, made fit for a stream.

``--runner=DirectRunner`` first tries to download a Prism binary; here every machine gets the same engine: ``FnApiRunner``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker import statesampler

from pipeline.build import build
from pipeline.job import Job


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


def stop_state_sampling() -> None:
    """Takes the sampling thread out of Beam's bundles.

    Each bundle starts a thread that looks, every 2 to 200 ms, in which stage the work is, and at the bundle's end waits for
    that thread to wake up once more: a twelfth of a long bundle, and most of a short one. Only Beam's own counters of
    milliseconds by stage are fed by it; elements are counted all the same.
    """

    def start(sampler: Any) -> None:
        sampler.tracked_thread = threading.current_thread()
        statesampler.set_current_tracker(sampler)
        sampler.started = True

    def stop(sampler: Any) -> None:
        statesampler.set_current_tracker(None)
        sampler.finished = True

    statesampler.StateSampler.start = start
    statesampler.StateSampler.stop = stop


def run(job: Job, beam_args: Sequence[str]) -> None:
    """Runs the job to its end, in this process.

    Raises:
        RuntimeError: A stage failed; the text holds the trace, the cause itself was told to the observer.
    """
    close_metrics_leak()
    stop_state_sampling()
    options = PipelineOptions([*beam_args, "--streaming"])
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner(), options=options)
    build(pipeline, job)
    pipeline.run().wait_until_finish()
