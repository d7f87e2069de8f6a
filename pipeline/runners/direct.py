"""``--runner=DirectRunner``: runs the job on Beam's ``FnApiRunner``, with two patches for streams.

Beam's own DirectRunner first tries to download a Prism binary. Here every machine uses the same runner, ``FnApiRunner``.
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
    """Patches FnApiRunner so that its memory does not grow with every bundle.

    FnApiRunner merges metrics by a generator over those of the bundle and of all bundles before. It chains these generators
    without running them, which leaks about 20 KB for each bundle. The patch returns a list, so they run at once.
    """
    original = fn_runner.consolidate_monitoring_infos
    if getattr(original, "closes_leak", False):
        return

    def consolidate(*arguments: Any, **named: Any) -> list[Any]:
        return list(original(*arguments, **named))

    consolidate.closes_leak = True  # type: ignore[attr-defined]  # marks the patch, so that it is applied once
    fn_runner.consolidate_monitoring_infos = consolidate


def stop_state_sampling() -> None:
    """Patches Beam so that bundles have no state-sampling thread.

    Each bundle starts a thread that records, every 2 to 200 ms, which stage is running. At its end the bundle waits until
    this thread wakes up once more: a twelfth of the time of a long bundle, and most of a short one. Without the thread only
    Beam's counters of milliseconds in each stage are missing; elements are still counted.
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
        RuntimeError: A stage failed. The text holds the trace; the observer was called with the cause.
    """
    close_metrics_leak()
    stop_state_sampling()
    options = PipelineOptions([*beam_args, "--streaming"])
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner(), options=options)
    build(pipeline, job)
    pipeline.run().wait_until_finish()
