"""A stub of the Open Inference Protocol's gRPC API, with Triton's extensions.

    python -m transforms.testing.open_inference.grpc_stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.clients.open_inference import messages
from transforms.clients.open_inference.tensors import (
    datatype_of,
    datatype_of_array,
    dtype_name,
    fill_contents,
    from_contents,
    from_raw,
    to_raw,
)
from transforms.errors import MalformedAnswerError
from transforms.testing.faults import StubError
from transforms.testing.grpc_stub import GARBAGE, GrpcStub, Handler
from transforms.testing.open_inference.stub import OipStub, index, listed, serve, served
from transforms.testing.stub_model import check_inputs
from transforms.types import Signature


class OipGrpcStub(OipStub, GrpcStub):
    """The Open Inference Protocol's gRPC API. See ``OipStub``."""

    scheme = "oip+grpc"

    def _handlers(self) -> dict[str, Handler]:
        return {
            messages.SERVER_METADATA: self._server_metadata,
            messages.MODEL_READY: self._ready,
            messages.MODEL_METADATA: self._metadata,
            messages.MODEL_CONFIG: self._config,
            messages.MODEL_INFER: self._infer,
            messages.REPOSITORY_INDEX: self._index,
        }

    async def _server_metadata(self, body: bytes, context: Any) -> bytes:
        self._must_describe()
        return _bytes(messages.ServerMetadataResponse(name="stub", version="1", extensions=self.traits.extensions))

    async def _ready(self, body: bytes, context: Any) -> bytes:
        return _bytes(messages.ModelReadyResponse(ready=self.traits.ready))

    async def _metadata(self, body: bytes, context: Any) -> bytes:
        self._must_describe()
        request = messages.ModelMetadataRequest.FromString(body)
        _, signature, _ = served(self.model, request.name, request.version)
        response = messages.ModelMetadataResponse(
            name=self.model.name, versions=listed(self.model, request.version), platform="stub"
        )
        sides = ((signature.inputs, response.inputs), (signature.outputs, response.outputs))
        for specs, described in sides if self.traits.declares else ():
            for name, spec in specs.items():
                described.add(name=name, datatype=datatype_of(spec.dtype), shape=spec.shape or ())
        return _bytes(response)

    async def _config(self, body: bytes, context: Any) -> bytes:
        self.traits.must_have("model_configuration")
        request = messages.ModelConfigRequest.FromString(body)
        _, signature, _ = served(self.model, request.name, request.version)
        response = messages.ModelConfigResponse()
        response.config.name, response.config.max_batch_size = self.model.name, self.traits.max_batch_size
        for name, spec in signature.inputs.items():
            response.config.input.add(name=name, optional=spec.has_default)
        return _bytes(response)

    async def _index(self, body: bytes, context: Any) -> bytes:
        self.traits.must_have("model_repository")
        return _bytes(messages.RepositoryIndexResponse(models=index(self.model)))

    async def _infer(self, body: bytes, context: Any) -> bytes:
        request = messages.ModelInferRequest.FromString(body)
        version, signature, function = served(self.model, request.model_name, request.model_version)
        inputs = _inputs(request)
        dtypes = {id(inputs[tensor.name]): dtype_name(tensor.datatype) for tensor in request.inputs}
        if self.traits.declares:
            check_inputs(signature, inputs, lambda array: dtypes[id(array)])
        rows = max((array.shape[0] if array.ndim else 1 for array in inputs.values()), default=1)
        outputs, fault = await self._respond(
            function, inputs, rows, context.invocation_metadata(), lambda: self._hang_up(context)
        )
        if fault is not None and fault.kind == "malformed":
            return GARBAGE
        answered = str(version) if self.traits.tells_version else ""
        wanted = self._asked_for([output.name for output in request.outputs], outputs, signature)
        return _bytes(self._answer(signature, answered, wanted))

    def _answer(self, signature: Signature, version: str, outputs: dict[str, Any]) -> Any:
        response = messages.ModelInferResponse(model_name=self.model.name, model_version=version)
        for name, values in outputs.items():
            array, declared = np.asarray(values), signature.outputs.get(name)
            datatype = datatype_of_array(array, declared is not None and declared.dtype == "bfloat16")
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if self.traits.typed:
                fill_contents(tensor.contents, array, datatype)
            else:
                response.raw_output_contents.append(to_raw(array, datatype))
        return response


def _inputs(request: Any) -> dict[str, np.ndarray]:
    raw, inputs = request.raw_input_contents, {}
    if raw and len(raw) != len(request.inputs):
        raise StubError("INVALID_ARGUMENT", "the number of raw input contents is not the number of inputs")
    try:
        for number, tensor in enumerate(request.inputs):
            if raw:
                inputs[tensor.name] = from_raw(raw[number], tensor.datatype, tensor.shape, tensor.name)
            else:
                inputs[tensor.name] = from_contents(tensor.contents, tensor.datatype, tensor.shape, tensor.name)
    except MalformedAnswerError as error:
        raise StubError("INVALID_ARGUMENT", str(error)) from error
    return inputs


def _bytes(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


if __name__ == "__main__":
    serve(OipGrpcStub, __doc__)
