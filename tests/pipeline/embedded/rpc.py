"""Short ways to call the model server over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from transforms.clients.tf_runtime.tensor_protos import fill_proto, from_proto
from transforms.clients.tfserving import messages

_ANSWERS = {
    messages.PREDICT: messages.PredictResponse,
    messages.CLASSIFY: messages.ClassificationResponse,
    messages.REGRESS: messages.RegressionResponse,
    messages.GET_MODEL_METADATA: messages.GetModelMetadataResponse,
    messages.GET_MODEL_STATUS: messages.GetModelStatusResponse,
}


def call(channel: grpc.Channel, path: str, request: Any) -> Any:
    """Sends one request."""
    method = channel.unary_unary(
        path, request_serializer=type(request).SerializeToString, response_deserializer=_ANSWERS[path].FromString
    )
    return method(request, timeout=30)


def predict(channel: grpc.Channel, model: str, signature: str = "", **inputs: Any) -> dict[str, np.ndarray]:
    """Sends arrays; returns output name to array."""
    request = messages.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        fill_proto(np.asarray(value), request.inputs[name], as_content=True)
    response = call(channel, messages.PREDICT, request)
    return {name: from_proto(response.outputs[name], name) for name in response.outputs}


def floats(values: Any) -> np.ndarray:
    """Returns a number or nested lists as float32."""
    return np.array(values, dtype=np.float32)


def strings(*values: bytes) -> np.ndarray:
    """Returns byte strings as the array of dtype object that tensors of strings are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def failure(channel: grpc.Channel, path: str, request: Any) -> tuple[grpc.StatusCode, str]:
    """Sends a request that has to fail; returns code and message."""
    try:
        call(channel, path, request)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the request succeeded")
