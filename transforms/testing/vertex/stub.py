"""``VertexStub``: the base class of the two stubs of Vertex AI's online prediction, an endpoint with one TensorFlow model.

Source: google/cloud/aiplatform/v1/prediction_service.proto and the REST reference. The stub was never compared with
the service. An instance is a bare value if the model has one input, or an object of the inputs by name, as in TensorFlow
Serving's row format.
"""

from __future__ import annotations

import argparse
import base64
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from transforms.clients.wire.json_outputs import INSTANCES
from transforms.testing.faults import Fault, StubError
from transforms.testing.stub_model import StubModel, check_inputs
from transforms.testing.stub_server import StubServer, Tls
from transforms.types import Signature

PROJECT, REGION = "project", "europe-west4"

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "DATA_LOSS": 500,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The names of ``google.rpc.Code`` to the HTTP status in Google's APIs. Source: google/rpc/code.proto."""


class VertexStub(StubServer):
    """The API of a region with one endpoint. The id of the endpoint is the model's name. See ``StubServer``.

    Args:
        model: The deployed model. If its signature has no inputs, its function gets ``{"instances": object array}``.
        port: The port; 0 takes a free one.
        tls: The server's identity for TLS; ``None`` for no TLS.

    Attributes:
        transport: ``grpc`` or ``rest``.
        deployed_model: The deployed model's id.
        display_name: The deployed model's display name.
        max_request_bytes: The highest number of bytes in a request. A larger request gets INVALID_ARGUMENT.
        answer_to_none: The status code for a request without instances; ``None`` to answer with no predictions.
        access_token: If set, requests without this token get UNAUTHENTICATED.
        last_parameters: The ``parameters`` of the last prediction request.
        last_instances: The ``instances`` of the last prediction request.
    """

    transport: str

    def __init__(self, model: StubModel | None = None, port: int = 0, tls: Tls | None = None):
        super().__init__(model, port, tls)
        self.deployed_model = "4611686018427387904"
        self.display_name = "half plus two"
        self.max_request_bytes = 1_572_864
        self.answer_to_none: str | None = "INVALID_ARGUMENT"  # as TensorFlow Serving
        self.access_token: str | None = None
        self.last_parameters: Any = None
        self.last_instances: list[Any] = []

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``. An endpoint's URI has no version, label or signature.

        Raises:
            ValueError: One of these is given.
        """
        if version is not None or label is not None or signature is not None:
            raise ValueError("a Vertex AI endpoint is asked for by its id alone")
        host = f"https://{self.address}" if self._tls else self.address  # plain text is what a loopback address speaks
        return f"vertex://{PROJECT}/{REGION}/{model or self.model.name}?transport={self.transport}&api_endpoint={host}"

    async def _answer_instances(
        self,
        endpoint: str,
        instances: Sequence[Any],
        parameters: Any,
        headers: Iterable[tuple[str, str]],
        hang_up: Callable[[], None],
    ) -> tuple[dict[str, Any], Fault | None]:
        """Returns the JSON form of a ``PredictResponse``, and the fault that the caller still has to apply, if any.

        Raises:
            StubError: The request is answered with an error status.
        """
        headers = list(headers)
        self._admit(endpoint, headers)
        if not self.model.signatures or not self.model.versions:
            raise StubError("FAILED_PRECONDITION", f"Endpoint {endpoint} has no deployed models")
        (signature, function), *_ = self.model.signatures.values()
        if not instances and self.answer_to_none is not None:
            raise StubError(self.answer_to_none, "Request data: 'instances' is missing or empty")
        if not instances:
            return self._response([]), None
        self.last_parameters, self.last_instances = parameters, list(instances)
        inputs = _inputs_of(instances, signature)
        outputs, fault = await self._respond(function, inputs, len(instances), headers, hang_up)
        return self._response(_predictions_of(outputs)), fault

    def _response(self, predictions: Any) -> dict[str, Any]:
        return {
            "predictions": predictions,
            "deployedModelId": self.deployed_model,
            "model": f"projects/{PROJECT}/locations/{REGION}/models/{self.model.name}",
            "modelDisplayName": self.display_name,
            "modelVersionId": str(max(self.model.versions)),
        }

    def _admit(self, endpoint: str, headers: Sequence[tuple[str, str]]) -> None:
        if self.access_token is not None and ("authorization", f"Bearer {self.access_token}") not in [
            (name.lower(), value) for name, value in headers
        ]:
            raise StubError("UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if endpoint != f"projects/{PROJECT}/locations/{REGION}/endpoints/{self.model.name}":
            raise StubError("NOT_FOUND", f"Endpoint `{endpoint}` not found.")

    def _check_size(self, size: int) -> None:
        if size > self.max_request_bytes:
            raise StubError("INVALID_ARGUMENT", f"Request payload size exceeds the limit: {self.max_request_bytes} bytes.")


def serve(stub_class: type[VertexStub], about: str | None) -> None:
    """Runs a stub as a program until SIGINT or SIGTERM.

    Args:
        stub_class: The stub's class.
        about: The description in ``--help``.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--endpoint", default="model", help="the endpoint's id")
    parser.add_argument("--latency_ms", type=float, default=0.0, help="what every request takes")
    flags = parser.parse_args()
    stub = stub_class(StubModel(name=flags.endpoint), flags.port)
    stub.faults.latency_s = flags.latency_ms / 1000
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # before the threads start: they inherit it
    with stub:
        print(stub.uri(), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _inputs_of(instances: Sequence[Any], signature: Signature) -> dict[str, np.ndarray]:
    if not signature.inputs:
        whole = np.empty(len(instances), dtype=object)
        whole[:] = instances
        return {INSTANCES: whole}
    named = all(isinstance(instance, dict) and instance.keys() != {"b64"} for instance in instances)
    columns: dict[str, list[Any]] = {next(iter(signature.inputs)): list(instances)}
    if named:
        columns = {name: [instance[name] for instance in instances] for name in instances[0]}
    dtypes = {name: spec.dtype for name, spec in signature.inputs.items()}
    inputs = {name: _array_of(name, values, dtypes.get(name, "float32")) for name, values in columns.items()}
    check_inputs(signature, inputs, lambda array: "string" if array.dtype.kind == "O" else array.dtype.name)
    return inputs


def _array_of(name: str, values: Any, dtype: str) -> np.ndarray:
    decoded = np.array(_decoded(values), dtype=object)
    expected = (bytes,) if dtype == "string" else (bool,) if dtype == "bool" else (int, float)
    if not all(type(item) in expected for item in decoded.ravel().tolist()):
        raise StubError("INVALID_ARGUMENT", f"JSON Value: (some value) Type: String is not of expected type: {dtype}")
    return decoded if dtype == "string" else decoded.astype(dtype)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def _predictions_of(outputs: dict[str, Any]) -> Any:
    """Returns the predictions: the values of the only output, or an object of the outputs by name for each row.

    A scalar output stays a scalar, which makes the response malformed.
    """
    columns = {name: _written(name, values) for name, values in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _written(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _written(name, value.tolist())
    if isinstance(value, list):
        return [_written(name, item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode("utf-8", "replace")
    return value
