"""Elements through stages on the runner that ``--runner=DirectRunner`` uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…
from apache_beam.testing.util import assert_that


def run(elements: list[Any], stages: Callable[[Any], Any] | beam.PTransform, expected: Callable[[list[Any]], None]) -> Any:
    """Runs elements through stages and checks what comes out, in its order.

    Returns:
        Beam's result, with the metrics.
    """
    pipeline = BeamPipeline(runner=FnApiRunner())
    created = pipeline | beam.Create(elements, reshuffle=False)
    found = created | stages if isinstance(stages, beam.PTransform) else stages(created)
    assert_that(found | beam.combiners.ToList(), lambda lists: expected(lists[0]))
    result = pipeline.run()
    result.wait_until_finish()
    return result
