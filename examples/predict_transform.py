"""``Predict`` in your own pipeline: reads lines of JSON, writes the mean prediction of each hour, and failures to a file.

    python -m examples.predict_transform --model=grpc://127.0.0.1:8500/half_plus_two --input=readings.jsonl --output=out

A line is ``{"time": seconds since the epoch, "x": [number, …]}``. Elements keep their windows and timestamps. A line that
does not fit the model becomes a failure; the other lines of its batch are answered.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from transforms import FailedElement, Predict, Prediction


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the model's URI")
    parser.add_argument("--input", required=True, help="a file of JSON lines")
    parser.add_argument("--output", required=True, help="prefix of the output files' names")
    flags, beam_args = parser.parse_known_args(argv)

    with beam.Pipeline(FnApiRunner(), argv=beam_args) as pipeline:
        predictions, failures = (
            pipeline
            | "Read" >> beam.io.ReadFromText(flags.input)
            | "Parse" >> beam.Map(json.loads)
            | "Time" >> beam.Map(lambda line: TimestampedValue(line, line["time"]))
            | "Hours" >> beam.WindowInto(FixedWindows(3600))
            | Predict(flags.model, max_batch_size=64).with_exception_handling()
        )
        _ = (
            predictions
            | "Score" >> beam.Map(score)
            | "Mean" >> beam.CombineGlobally(beam.combiners.MeanCombineFn()).without_defaults()
            | "Hour" >> beam.ParDo(WithHour())
            | "Write" >> beam.io.WriteToText(flags.output, file_name_suffix=".hours.jsonl", shard_name_template="")
        )
        _ = (
            failures
            | "Why" >> beam.Map(why)
            | "WriteFailures" >> beam.io.WriteToText(flags.output, file_name_suffix=".failed.jsonl", shard_name_template="")
        )


def score(prediction: Prediction) -> float:
    """The first number of the first output."""
    first = next(iter(prediction.outputs.values()))
    return float(first.ravel()[0])


class WithHour(beam.DoFn):
    """Adds the start of the window that a value belongs to."""

    def process(self, mean: float, window: Any = beam.DoFn.WindowParam) -> Any:
        """Yields a line of JSON."""
        yield json.dumps({"hour": int(window.start), "mean": mean})


def why(failed: FailedElement) -> str:
    """A failed element as a line of JSON, with the reason."""
    failure = failed.failure
    return json.dumps({"class": failure.error_class, "why": failure.message, "element": failed.element})


if __name__ == "__main__":
    main()
