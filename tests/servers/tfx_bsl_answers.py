"""Runs SavedModels by tfx-bsl's in-process RunInference; a program for the environment that ``test_tfx_bsl.py`` makes.

    python tfx_bsl_answers.py MODEL_FOLDER SIGNATURE [MODEL_FOLDER SIGNATURE …] < examples, one a line, base64 > JSON

Prints for each model ``{"answers": […], "seconds_per_batch": …}``, a line each: for each example its regression value or its
classes' scores, by the ModelHandler in whose hands Beam's RunInference puts the same batches.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

import tensorflow as tf
from tfx_bsl.public.beam import run_inference
from tfx_bsl.public.proto import model_spec_pb2

REPEATS = 50


def value(log: Any) -> Any:
    """Reads what a ``PredictionLog`` answers."""
    kind = log.WhichOneof("log_type")
    if kind == "regress_log":
        return log.regress_log.response.result.regressions[0].value
    if kind == "classify_log":
        return [entry.score for entry in log.classify_log.response.result.classifications[0].classes]
    [output] = log.predict_log.response.outputs.values()
    return tf.make_ndarray(output)[0].tolist()


def main(*models: str) -> None:
    """Answers the examples on standard input by each model."""
    examples = [base64.b64decode(line) for line in sys.stdin.buffer.read().splitlines()]
    for folder, signature in zip(models[::2], models[1::2], strict=True):
        answer(folder, signature, examples)


def answer(folder: str, signature: str, examples: list[bytes]) -> None:
    """Prints one model's answers."""
    spec = model_spec_pb2.SavedModelSpec(model_path=folder, signature_name=[signature])
    handler = run_inference.CreateModelHandler(model_spec_pb2.InferenceSpecType(saved_model_spec=spec))
    model = handler.load_model()
    answers = [value(log) for log in handler.run_inference(examples, model)]
    began = time.perf_counter()
    for _ in range(REPEATS):
        list(handler.run_inference(examples, model))
    print(json.dumps({"answers": answers, "seconds_per_batch": (time.perf_counter() - began) / REPEATS}))


if __name__ == "__main__":
    main(*sys.argv[1:])
