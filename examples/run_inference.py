"""A model server in Beam's own ``RunInference``, with predictions and failures in separate outputs.

    python -m examples.run_inference --model=grpc://127.0.0.1:8500/half_plus_two

It takes any model URI of a model with one numeric input. ``python -m pipeline.embedded --model NAME=PATH`` serves a
SavedModel.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.handlers import UriModelHandler, is_failure

READINGS = {
    "monday": np.array([1.0], np.float32),
    "tuesday": np.array([2.0], np.float32),
    "wednesday": np.array(["a typing mistake"]),
    "thursday": np.array([4.0], np.float32),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Scores the readings and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the model's URI")
    flags, beam_args = parser.parse_known_args(argv)

    # Each result comes with the key of its element. Without keys, use RunInference(UriModelHandler(uri)) on bare rows. There
    # is also a handler for each protocol: TFServingModelHandler, OpenInferenceModelHandler, VertexModelHandler …
    handler = KeyedModelHandler(UriModelHandler(flags.model, max_batch_size=32))

    with beam.Pipeline(FnApiRunner(), argv=beam_args) as pipeline:
        results = pipeline | "Readings" >> beam.Create(list(READINGS.items())) | RunInference(handler)
        good, failed = results | "Apart" >> beam.Partition(lambda result, _: int(is_failure(result)), 2)
        _ = good | "Show" >> beam.Map(show)
        _ = failed | "ShowFailed" >> beam.Map(show_failed)


def show(result: tuple[str, PredictionResult]) -> None:
    """Prints an answer: outputs by name, and the model and version that gave them."""
    key, (_, outputs, model_id) = result
    print(f"{key}: {', '.join(f'{name} = {value}' for name, value in outputs.items())} by {model_id}")


def show_failed(result: tuple[str, PredictionResult]) -> None:
    """Prints why there is no answer."""
    key, (_, failure, _) = result
    print(f"{key}: {failure.error_class} in {failure.stage}: {failure.message}")


if __name__ == "__main__":
    main()
