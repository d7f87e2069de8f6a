"""TensorFlow Serving over gRPC: ``grpc://HOST:PORT/MODEL[@VERSION]?signature=NAME``, ``grpcs://`` for TLS.

Source: tensorflow_serving/apis/{prediction_service,model_service}.proto. TensorFlow is never imported.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.declared import declared_or_refused
from transforms.clients.tfserving import messages
from transforms.clients.tfserving.uri import ModelAddress, parse_grpc
from transforms.clients.wire.grpc import Connect, GrpcChannel
from transforms.clients.wire.metadata_errors import as_metadata_errors, of_metadata
from transforms.clients.wire.outputs import OutputMatcher, check_results, classification_outputs
from transforms.clients.wire.status_codes import from_grpc_code, speaks_http1
from transforms.clients.wire.tensorflow import signature as signatures
from transforms.clients.wire.tensorflow.messages import SignatureDefMap
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.clients.wire.tensorflow.tensors import fill_tensor, read_tensors
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
)
from transforms.printable import counted
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, Answer, ModelMetadata, Signature


def translator(address: ModelAddress) -> functools.partial[ModelError]:
    """Returns what makes the error for a gRPC status: ``from_grpc_code`` with the rules of TensorFlow Serving.

    Args:
        address: Of the model, for the URI that would do if the port is that of REST.
    """
    http1 = speaks_http1(f"for TensorFlow Serving's REST port use {address.rest_uri}")
    return functools.partial(from_grpc_code, rules=(http1, *SERVING_RULES))


def parse(uri: str) -> ModelAddress:
    """Parses a ``grpc://`` or ``grpcs://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_grpc(uri)


def open(uri: str, options: ClientOptions) -> TfServingGrpcClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return TfServingGrpcClient(parse(uri), options)


class TfServingGrpcClient(ModelClient):
    """A client of TensorFlow Serving's PredictionService for one model.

    Args:
        address: The model and the server's address.
        options: See ``GrpcChannel``.
        connect: Makes the connections.
    """

    def __init__(self, address: ModelAddress, options: ClientOptions, connect: Connect = GrpcChannel):
        self._address = address
        self._where = str(address)
        self._channel = connect(address.target, address.secure, options, self._where, translator(address))
        self._matcher = OutputMatcher(self._where, options.outputs)
        self._outputs, self._max_answer_bytes = options.outputs, options.max_answer_bytes
        self._declared = options.signature
        self._method = messages.PREDICT
        self._use_signature(None)

    def _use_signature(self, signature: Signature | None) -> None:
        """Prepares the parts that all requests share."""
        name = signature.name if signature else self._address.signature
        spec = messages.ModelSpec(signature_name=name, **self._version_choice())
        self._matcher.signature = signature
        if signature is not None:
            self._method = {METHOD_CLASSIFY: messages.CLASSIFY, METHOD_REGRESS: messages.REGRESS}.get(
                signature.method, messages.PREDICT
            )
        wanted = self._outputs if self._method is messages.PREDICT else ()
        # Concatenated serialized messages are one message: this one and the message with the inputs make a request.
        self._request_head = messages.PredictRequest(model_spec=spec, output_filter=wanted).SerializeToString()
        inputs = signature.inputs if signature else {}
        self._bfloat16 = frozenset(name for name, spec in inputs.items() if spec.dtype == "bfloat16")

    def _version_choice(self) -> dict[str, Any]:
        choice: dict[str, Any] = {"name": self._address.model}
        if self._address.version is not None:
            choice["version"] = {"value": self._address.version}
        elif self._address.label is not None:
            choice["version_label"] = self._address.label
        return choice

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``."""
        request = messages.GetModelMetadataRequest(
            model_spec=messages.ModelSpec(**self._version_choice()), metadata_field=["signature_def"]
        )
        with as_metadata_errors("is it TensorFlow Serving's gRPC port (8500)?", refusals_too=False, where=self._where):
            try:
                body = await self._channel.call(messages.GET_MODEL_METADATA, request.SerializeToString(), timeout_s)
            except NotServedError as error:
                if error.unimplemented:
                    return self._without_metadata(error)
                raise await self._explained(error, timeout_s) from error
            response = messages.GetModelMetadataResponse.FromString(of_metadata(body, self._where))
            definitions = SignatureDefMap.FromString(response.metadata["signature_def"].value)
            signature = signatures.choose(signatures.from_proto(definitions), self._address)
        self._use_signature(signature)
        return ModelMetadata(self._address.model, _version(response.model_spec), signature)

    def _without_metadata(self, error: ModelError) -> ModelMetadata:
        signature = declared_or_refused(error, "GetModelMetadata", self._declared)
        if self._address.signature is not None:
            signature = dataclasses.replace(signature, name=self._address.signature)
        self._use_signature(signature)
        version = self._address.version
        return ModelMetadata(self._address.model, "" if version is None else str(version), signature)

    async def _explained(self, error: ModelError, timeout_s: float) -> ModelError:
        """Adds to "not found" which versions there are; a model still loading is only not available yet."""
        request = messages.GetModelStatusRequest(model_spec=messages.ModelSpec(name=self._address.model))
        try:
            body = await self._channel.call(messages.GET_MODEL_STATUS, request.SerializeToString(), timeout_s)
            statuses = messages.GetModelStatusResponse.FromString(of_metadata(body, self._where)).model_version_status
        except (ModelError, DecodeError) as nothing:  # not every server of this protocol has a ModelService
            return signatures.no_such_model(error) if "NOT_FOUND" in str(nothing) else error
        states = {status.version: messages.VERSION_STATES.get(status.state, "UNKNOWN") for status in statuses}
        return signatures.explain_versions(error, self._address, states)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Classify answers ``classes`` and ``scores``, Regress answers ``value``."""
        if self._method is not messages.PREDICT:
            return await self._answer_examples(inputs, rows, timeout_s)
        body = await self._channel.call(messages.PREDICT, self._predict_request(inputs), timeout_s)
        try:
            response = messages.PredictResponse.FromString(body)
        except DecodeError as error:
            raise MalformedAnswerError(
                f"{self._where}: the answer is no PredictResponse ({counted(len(body), 'byte')})"
            ) from error
        outputs = read_tensors(response.outputs, self._max_answer_bytes)
        scalar_inputs = not any(array.ndim for array in inputs.values())
        return self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs).answer(_version(response.model_spec))

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        predict = self._method is messages.PREDICT
        request = self._predict_request(inputs) if predict else self._examples_request(inputs)
        return RequestPreview("gRPC", self._method, self._address.target, len(request))

    def _predict_request(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        request = messages.PredictRequest()
        tensors = request.inputs
        for name, array in inputs.items():
            fill_tensor(tensors[name], array, name in self._bfloat16)
        serialized: bytes = self._request_head + request.SerializeToString()
        return serialized

    def _examples_request(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        (examples,) = inputs.values()
        classify = self._method is messages.CLASSIFY
        request = messages.ClassificationRequest() if classify else messages.RegressionRequest()
        request.input.example_list.examples.extend(examples.ravel().tolist())
        serialized: bytes = self._request_head + request.SerializeToString()
        return serialized

    async def _answer_examples(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        classify = self._method is messages.CLASSIFY
        body = await self._channel.call(self._method, self._examples_request(inputs), timeout_s)
        kind = messages.ClassificationResponse if classify else messages.RegressionResponse
        try:
            response = kind.FromString(body)
        except DecodeError as error:
            raise MalformedAnswerError(f"{self._where}: the answer can't be read ({counted(len(body), 'byte')})") from error
        if classify:
            pairs = [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]
            outputs = classification_outputs(pairs)
        else:
            outputs = {"value": np.array([row.value for row in response.result.regressions], np.float32)}
        return Answer(check_results(outputs, rows, self._where), _version(response.model_spec))

    async def close(self) -> None:
        """Closes the connection; requests in flight end with ``UnavailableError``."""
        await self._channel.close()


def _version(spec: Any) -> str:
    return str(spec.version.value) if spec.HasField("version") else ""
