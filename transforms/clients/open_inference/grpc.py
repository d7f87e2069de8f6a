"""The Open Inference Protocol over gRPC: ``oip+grpc://HOST:PORT/MODEL[/VERSION]``, ``oip+grpcs://`` for TLS.

Triton, MLServer and KServe speak it. Tensors are sent as raw bytes of the arrays (``raw_input_contents``), which all three
take. Answers are read raw or typed.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_grpc.md.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.declared import declared_or_refused
from transforms.clients.open_inference import messages
from transforms.clients.open_inference.errors import from_grpc
from transforms.clients.open_inference.model import (
    MODEL_CONFIGURATION,
    RepositoryEntry,
    TritonConfig,
    declared_metadata,
    explain,
    metadata_of,
    newest,
    unknown_columns,
)
from transforms.clients.open_inference.tensors import datatype_of_array, from_contents, from_raw, to_raw
from transforms.clients.open_inference.unbatched import OneRow, is_unbatched
from transforms.clients.open_inference.uri import OipAddress, parse_grpc
from transforms.clients.wire.grpc import Connect, GrpcChannel
from transforms.clients.wire.metadata_errors import as_metadata_errors, of_metadata
from transforms.clients.wire.outputs import OutputMatcher
from transforms.clients.wire.served_version import VERSION_REFRESH_S, ServedVersion
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
    UnavailableError,
)
from transforms.printable import counted
from transforms.types import Answer, ModelMetadata, Signature


def parse(uri: str) -> OipAddress:
    """Parses an ``oip+grpc://`` or ``oip+grpcs://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_grpc(uri)


def open(uri: str, options: ClientOptions) -> OipGrpcClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return OipGrpcClient(parse(uri), options)


class OipGrpcClient(ModelClient):
    """A client of the Open Inference Protocol's GRPCInferenceService for one model.

    Args:
        address: The model and the server's address.
        options: See ``GrpcChannel``.
        version_refresh_s: Seconds after which the served version is looked up again.
        clock: Returns the seconds of a monotonic clock.
        connect: Makes the connections.
    """

    def __init__(
        self,
        address: OipAddress,
        options: ClientOptions,
        version_refresh_s: float = VERSION_REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = GrpcChannel,
    ):
        self._address = address
        self._where = str(address)
        translate = functools.partial(from_grpc, http_uri=address.http_uri)
        self._channel = connect(address.target, address.secure, options, self._where, translate)
        self._named = {"name": address.model, "version": address.version or ""}
        # Concatenated serialized messages are one message: this one and the message with the tensors make a request.
        self._request_head = messages.ModelInferRequest(
            model_name=address.model,
            model_version=address.version or "",
            outputs=[{"name": name} for name in options.outputs],
        ).SerializeToString()
        self._signature: Signature | None = None
        self._matcher = OutputMatcher(self._where, options.outputs)
        self._bfloat16: frozenset[str] = frozenset()
        self._one_row: OneRow | None = None
        self._declared = options.signature
        self._version = ServedVersion(self._look_for_version, None, version_refresh_s, clock)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. A model without declared inputs has the signature of ``--signature``, or no known one."""
        with as_metadata_errors("is it the server's gRPC port?", refusals_too=False, where=self._where):
            extensions = await self._extensions(timeout_s)
            model = await self._model(timeout_s)
            config = await self._config(timeout_s) if MODEL_CONFIGURATION in extensions else TritonConfig()
            await self._must_be_ready(timeout_s)
            if isinstance(model, Signature):
                metadata = declared_metadata(self._address, model, config)
            else:
                inputs, outputs = ([(t.name, t.datatype, t.shape) for t in side] for side in (model.inputs, model.outputs))
                metadata = metadata_of(self._address, model.versions, inputs, outputs, config, self._declared)
            one_row = None
            if is_unbatched(self._where, self._address.unbatched, config.max_batch_size, metadata.signature):
                one_row, metadata = OneRow(self._where), OneRow.metadata(metadata)
        specs = metadata.signature.inputs
        self._signature = self._matcher.signature = metadata.signature
        if self._address.version is None:  # one that the URI names may be ignored by the server: only its own word counts
            self._version.read(metadata.version or None)
        self._one_row = one_row
        self._bfloat16 = frozenset(name for name, spec in specs.items() if spec.dtype == "bfloat16")
        return metadata

    async def _extensions(self, timeout_s: float) -> Collection[str]:
        request = messages.ServerMetadataRequest()
        try:
            server = await self._ask(messages.SERVER_METADATA, request, messages.ServerMetadataResponse, timeout_s)
        except NotServedError as error:
            if error.unimplemented:
                return ()
            raise
        return frozenset(server.extensions)

    async def _model(self, timeout_s: float) -> Any:
        """Returns the model's metadata; the signature of ``--signature`` if the server has no such call."""
        request = messages.ModelMetadataRequest(**self._named)
        try:
            return await self._ask(messages.MODEL_METADATA, request, messages.ModelMetadataResponse, timeout_s)
        except NotServedError as error:
            if error.unimplemented:
                return declared_or_refused(error, "ModelMetadata", self._declared)
            raise explain(error, self._address, await self._entries(timeout_s)) from error

    async def _config(self, timeout_s: float) -> TritonConfig:
        request = messages.ModelConfigRequest(**self._named)
        try:
            response = await self._ask(messages.MODEL_CONFIG, request, messages.ModelConfigResponse, timeout_s)
        except (NotServedError, RejectedError, MalformedAnswerError):
            return TritonConfig()  # an administrator may have closed this call (Triton's --grpc-restricted-protocol)
        optional = frozenset(given.name for given in response.config.input if given.optional)
        return TritonConfig(response.config.max_batch_size, optional)

    async def _must_be_ready(self, timeout_s: float) -> None:
        request = messages.ModelReadyRequest(**self._named)
        try:
            answer = await self._ask(messages.MODEL_READY, request, messages.ModelReadyResponse, timeout_s)
        except UnavailableError:
            raise
        except ModelError:
            return  # the server does not answer the call: do not wait for readiness, requests fail if the model is not ready
        if not answer.ready:
            raise UnavailableError(f"{self._where}: the model is not ready")

    async def _entries(self, timeout_s: float) -> list[RepositoryEntry]:
        """Returns the model repository's entries; if it can't be read, the versions in this model's metadata."""
        for method in (messages.REPOSITORY_INDEX, messages.MLSERVER_REPOSITORY_INDEX):
            try:
                index = await self._ask(
                    method, messages.RepositoryIndexRequest(), messages.RepositoryIndexResponse, timeout_s
                )
            except ModelError:
                continue
            # MLServer writes the state as "State.READY".
            return [RepositoryEntry(model.name, model.version, model.state.rpartition(".")[2]) for model in index.models]
        if self._address.version is None:
            return []
        request = messages.ModelMetadataRequest(name=self._address.model)
        try:
            model = await self._ask(messages.MODEL_METADATA, request, messages.ModelMetadataResponse, timeout_s)
        except ModelError:
            return []
        return [RepositoryEntry(self._address.model, version, "READY") for version in model.versions]

    async def _ask(self, method: str, request: Any, kind: Any, timeout_s: float) -> Any:
        body = await self._channel.call(method, request.SerializeToString(), timeout_s)
        try:
            return kind.FromString(of_metadata(body, self._where))
        except DecodeError as error:
            name = method.rpartition("/")[2]
            raise MalformedAnswerError(
                f"{self._where}: the answer to {name} can't be read ({counted(len(body), 'byte')})"
            ) from error

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Without a known signature, whole JSON records are converted by ``model.columns_of``."""
        inputs, request = self._request(inputs, rows)
        body = await self._channel.call(messages.MODEL_INFER, request, timeout_s)
        try:
            response = messages.ModelInferResponse.FromString(body)
        except DecodeError as error:
            raise MalformedAnswerError(
                f"{self._where}: the answer is no ModelInferResponse ({counted(len(body), 'byte')})"
            ) from error
        outputs = self._outputs(response)
        scalar_inputs = not any(array.ndim for array in inputs.values())
        if self._one_row is not None:
            outputs, scalar_inputs = self._one_row.of_outputs(outputs), False
        matched = self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs)
        return matched.answer(self._version.of_answer(response.model_version, timeout_s))

    async def _look_for_version(self, timeout_s: float) -> str | None:
        request = messages.ModelMetadataRequest(**self._named)
        model = await self._ask(messages.MODEL_METADATA, request, messages.ModelMetadataResponse, timeout_s)
        return newest(model.versions) or None

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("gRPC", messages.MODEL_INFER, self._address.target, len(self._request(inputs, rows)[1]))

    def _request(self, inputs: Mapping[str, np.ndarray], rows: int) -> tuple[Mapping[str, np.ndarray], bytes]:
        """Returns the arrays that are sent, by input name, and the serialized message."""
        request = messages.ModelInferRequest()
        try:
            if self._signature is not None and not self._signature.known:
                inputs = unknown_columns(inputs)
            if self._one_row is not None:
                inputs = self._one_row.of_inputs(inputs, rows)
            for name, array in inputs.items():
                datatype = datatype_of_array(array, name in self._bfloat16)
                request.inputs.add(name=name, datatype=datatype, shape=array.shape)
                request.raw_input_contents.append(to_raw(array, datatype))
        except (TypeError, ValueError) as error:
            raise RejectedError(f"{self._where}: the request can't be written: {error}") from error
        return inputs, self._request_head + request.SerializeToString()

    def _outputs(self, response: Any) -> dict[str, np.ndarray]:
        raw, tensors = response.raw_output_contents, response.outputs
        if raw and len(raw) != len(tensors):
            raise MalformedAnswerError(f"{self._where}: {len(raw)} raw contents for {len(tensors)} outputs")
        outputs = {}
        try:
            for index, tensor in enumerate(tensors):
                if raw:
                    outputs[tensor.name] = from_raw(raw[index], tensor.datatype, tensor.shape, tensor.name)
                else:
                    outputs[tensor.name] = from_contents(tensor.contents, tensor.datatype, tensor.shape, tensor.name)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        return {name: outputs[name] for name in sorted(outputs)}

    async def close(self) -> None:
        """Closes the connection; requests in flight end with ``UnavailableError``."""
        await self._version.close()
        await self._channel.close()
