"""Calls the server with TensorFlow Serving's own Python client; run by test_official_client.py in a process of its own,
because importing it imports all of TensorFlow.

    python -m tests.pipeline.embedded.official_client GRPC_PORT
"""

from __future__ import annotations

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from pipeline.embedded.digits import load_digits


def main(port: str) -> None:
    """Asserts what each method answers."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "digits"
        digits = load_digits()[10:30]  # easy ones
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([digit.png for digit in digits]))
        response = service.Predict(request, timeout=30)
        assert tf.make_ndarray(response.outputs["label"]).tolist() == [digit.label for digit in digits]
        assert tf.make_ndarray(response.outputs["scores"]).shape == (20, 10)
        assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "serving_default")

        for kind in (tf.float16, tf.bfloat16, tf.int8, tf.uint64, tf.complex128, tf.bool):
            values = tf.cast([0, 1, 1], kind).numpy()
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "kinds"
            request.model_spec.signature_name = "echo_half" if kind == tf.float16 else f"echo_{kind.name}"
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
            got = tf.make_ndarray(service.Predict(request, timeout=30).outputs["y"])
            assert got.dtype == values.dtype
            assert (got == values).all()

        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "digits"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert service.GetModelMetadata(metadata, timeout=30).metadata["signature_def"].Unpack(signatures)
        assert signatures.signature_def["pixels"].inputs["pixels"].dtype == tf.float32.as_datatype_enum

        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "digits"
        found = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, timeout=30)
        (version,) = found.model_version_status
        assert (version.version, version.state, version.status.error_code) == (1, version.AVAILABLE, 0)

        if len(sys.argv) > 2:  # TensorFlow Serving's test models are served, too
            by_examples(service)


def by_examples(service: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    """Classify and Regress, with a context."""
    context = tf.train.Example()
    context.features.feature["x"].float_list.value.append(4.0)
    classification = classification_pb2.ClassificationRequest()
    regression = regression_pb2.RegressionRequest()
    for request, name in ((classification, "classify_x_to_y"), (regression, "regress_x_to_y")):
        request.model_spec.name, request.model_spec.signature_name = "half_plus_two_cpu", name
        request.input.example_list_with_context.context.CopyFrom(context)
        request.input.example_list_with_context.examples.extend([tf.train.Example()] * 2)
    classified = service.Classify(classification, timeout=30).result.classifications
    assert [[c.score for c in entry.classes] for entry in classified] == [[4.0], [4.0]]
    values = [entry.value for entry in service.Regress(regression, timeout=30).result.regressions]
    assert np.array_equal(values, [4.0, 4.0])


if __name__ == "__main__":
    main(sys.argv[1])
