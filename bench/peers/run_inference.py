"""Beam's own way: Java's ``ReadFromKafka`` and ``WriteToKafka``, and ``RunInference`` with a handler of its own, on Prism.

python -m bench.peers.run_inference BOOTSTRAP INPUT OUTPUT GROUP HOST:PORT/MODEL
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import grpc
import numpy as np
import orjson
from apache_beam.io.kafka import ReadFromKafka, WriteToKafka
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from bench.handwritten import PREDICT, request_of
from pipeline.runners.prism import find_prism
from transforms.clients.tfserving import messages
from transforms.kafka.beam.expansion.service import expansion_service

ROWS = 64
TIMEOUT_S = 30


class TensorFlowServingHandler(ModelHandler[Any, float, Any]):
    """Asks TensorFlow Serving for a batch of rows, as Beam's handlers of remote models do: one blocking request a batch."""

    def __init__(self, model: str):
        super().__init__(min_batch_size=1, max_batch_size=ROWS)
        self._address, _, self._model = model.partition("/")

    def load_model(self) -> Any:
        """Returns the call."""
        return grpc.insecure_channel(self._address).unary_unary(
            PREDICT, messages.PredictRequest.SerializeToString, messages.PredictResponse.FromString
        )

    def run_inference(
        self, batch: Sequence[Any], model: Any, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[float]:
        """Returns a value for each row."""
        request = request_of(self._model, np.array(batch, "<f4"))
        output = model(request, timeout=TIMEOUT_S).outputs["y"]
        values: list[float] = np.frombuffer(output.tensor_content, "<f4").tolist() or list(output.float_val)
        return values


def main() -> None:
    """Runs until it is ended."""
    bootstrap, source, output, group, model = sys.argv[1:]
    reading = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "true",
    }
    prism = f"--prism_location={find_prism(print)}"
    options = PipelineOptions(["--runner=PrismRunner", prism, "--streaming", "--environment_type=LOOPBACK"])
    with expansion_service(True, print) as java, beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | ReadFromKafka(reading, [source], consumer_polling_timeout=1, expansion_service=java)
            | beam.Map(lambda record: (record[0], orjson.loads(record[1])["x"]))
            | RunInference(KeyedModelHandler(TensorFlowServingHandler(model)))
            | beam.Map(lambda pair: (pair[0], orjson.dumps({"y": pair[1]}))).with_output_types(tuple[bytes, bytes])
            | WriteToKafka({"bootstrap.servers": bootstrap}, output, expansion_service=java)
        )


if __name__ == "__main__":
    main()
