"""A stub of TensorFlow Serving's gRPC API: Predict, Classify, Regress, GetModelMetadata, GetModelStatus.

    python -m transforms.testing.tfserving.grpc_stub --port 0 --latency_ms 20 --fast

prints its port as the first line and serves until SIGINT or SIGTERM. With ``--fast`` it is the server of the
benchmarks: it answers y [n], the sum of each row of x [n, m], with little work, and counts only the requests. With
``--guilty=KIND`` it fails requests that have a guilty row (``guilty.py``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from transforms.clients.tfserving import messages
from transforms.clients.wire.tensorflow.tensors import dtype_name, fill_tensor, read_tensor
from transforms.errors import MalformedAnswerError
from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.grpc_stub import GARBAGE, GrpcStub, Handler
from transforms.testing.guilty import fault_of, guilty_flag
from transforms.testing.signature_protos import signature_map
from transforms.testing.stub_model import StubModel, check_inputs, row_sum, summing_model
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, Signature, TensorSpec

_ANY = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class TfServingGrpcStub(GrpcStub):
    """TensorFlow Serving's gRPC API with one model and programmable faults. See ``StubServer``."""

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``. A version or a label follows ``@``."""
        asked = version if version is not None else label
        query = f"?signature={signature}" if signature else ""
        scheme = "grpcs" if self._tls else "grpc"
        return f"{scheme}://{self.address}/{model or self.model.name}{'' if asked is None else f'@{asked}'}{query}"

    def _handlers(self) -> dict[str, Handler]:
        return {
            messages.PREDICT: self._predict,
            messages.CLASSIFY: self._classify,
            messages.REGRESS: self._regress,
            messages.GET_MODEL_METADATA: self._metadata,
            messages.GET_MODEL_STATUS: self._status,
        }

    async def _predict(self, body: bytes, context: Any) -> bytes:
        request = messages.PredictRequest.FromString(body)
        version = self._version(request.model_spec)
        name = request.model_spec.signature_name
        signature, function = self.model.signature(name)
        try:
            inputs = {name: read_tensor(tensor, name) for name, tensor in request.inputs.items()}
        except MalformedAnswerError as error:
            raise StubError("INVALID_ARGUMENT", str(error)) from error
        dtypes = {id(array): dtype_name(request.inputs[name].dtype) for name, array in inputs.items()}
        check_inputs(signature, inputs, lambda array: dtypes[id(array)])
        rows = max((array.shape[0] if array.ndim else 1 for array in inputs.values()), default=1)
        outputs, fault = await self._respond(
            function, inputs, rows, context.invocation_metadata(), lambda: self._hang_up(context)
        )
        if fault is not None and fault.kind == "malformed":
            return GARBAGE
        response = messages.PredictResponse(model_spec=self._spec(version, signature.name))
        for name, values in self._asked_for(request.output_filter, outputs, signature).items():
            declared = signature.outputs.get(name)
            fill_tensor(response.outputs[name], np.asarray(values), declared is not None and declared.dtype == "bfloat16")
        return _bytes(response)

    async def _classify(self, body: bytes, context: Any) -> bytes:
        request = messages.ClassificationRequest.FromString(body)
        outputs, head = await self._examples(request, context, METHOD_CLASSIFY, messages.ClassificationResponse)
        response = messages.ClassificationResponse()
        response.result.SetInParent()
        for labels, scores in zip(outputs.get("classes", ()), outputs.get("scores", ()), strict=True):
            row = response.result.classifications.add()
            for label, score in zip(labels, scores, strict=True):
                row.classes.add(label=label, score=score)
        return head if head is GARBAGE else head + _bytes(response)

    async def _regress(self, body: bytes, context: Any) -> bytes:
        request = messages.RegressionRequest.FromString(body)
        outputs, head = await self._examples(request, context, METHOD_REGRESS, messages.RegressionResponse)
        response = messages.RegressionResponse()
        response.result.SetInParent()
        for value in np.atleast_1d(np.asarray(outputs.get("value", ()))).tolist():
            response.result.regressions.add(value=value)
        return head if head is GARBAGE else head + _bytes(response)

    async def _examples(self, request: Any, context: Any, method: str, response: Any) -> tuple[dict[str, Any], bytes]:
        version = self._version(request.model_spec)
        signature, function = self.model.signature(request.model_spec.signature_name, method=method)
        rows = len(request.input.example_list.examples)
        if not rows:
            raise StubError("INVALID_ARGUMENT", "Input is empty")
        examples = np.empty(rows, dtype=object)
        examples[:] = list(request.input.example_list.examples)
        hang_up = lambda: self._hang_up(context)  # noqa: E731  # one line says it all
        outputs, fault = await self._respond(function, {"examples": examples}, rows, context.invocation_metadata(), hang_up)
        if fault is not None and fault.kind == "malformed":
            return {}, GARBAGE
        return outputs, _bytes(response(model_spec=self._spec(version, signature.name)))

    async def _metadata(self, body: bytes, context: Any) -> bytes:
        self._must_describe()
        request = messages.GetModelMetadataRequest.FromString(body)
        version = self._version(request.model_spec)
        if list(request.metadata_field) != ["signature_def"]:
            raise StubError("INVALID_ARGUMENT", "Metadata field is not supported")
        response = messages.GetModelMetadataResponse(model_spec=self._spec(version, ""))
        response.metadata["signature_def"].type_url = _ANY
        response.metadata["signature_def"].value = signature_map(self.model).SerializeToString()
        return _bytes(response)

    async def _status(self, body: bytes, context: Any) -> bytes:
        self._must_describe()
        spec = messages.GetModelStatusRequest.FromString(body).model_spec
        if spec.name != self.model.name:
            raise StubError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        numbers = {state: number for number, state in messages.VERSION_STATES.items()}
        response = messages.GetModelStatusResponse()
        for version, state in self.model.versions.items():
            response.model_version_status.add(version=version, state=numbers[state])
        return _bytes(response)

    def _version(self, spec: Any) -> int:
        choice = spec.WhichOneof("version_choice")
        return self.model.version(
            spec.name,
            spec.version.value if choice == "version" else None,
            spec.version_label if choice == "version_label" else None,
        )

    def _spec(self, version: int, signature: str) -> Any:
        return messages.ModelSpec(name=self.model.name, version={"value": version}, signature_name=signature)


class FastGrpcStub(TfServingGrpcStub):
    """A fast server for benchmarks, which answers the sum of each row. Of ``faults`` it uses only ``latency_s``.

    Attributes:
        guilty: The kind of guilty rows (``guilty.KINDS``); ``None`` for none.
    """

    guilty: str | None = None

    def _handlers(self) -> dict[str, Handler]:
        return {**super()._handlers(), messages.PREDICT: self._predict_fast}

    async def _predict_fast(self, body: bytes, context: Any) -> bytes:
        request = messages.PredictRequest.FromString(body)
        ((_, tensor),) = request.inputs.items()
        x = read_tensor(tensor)
        self.faults.requests += 1
        if self.faults.latency_s:
            await asyncio.sleep(self.faults.latency_s)
        if (fault := fault_of(self.guilty, x)) is not None:
            if fault.kind == "hang_up":
                self._hang_up(context)
            await asyncio.Event().wait()
        outputs = row_sum({"x": x})
        response = messages.PredictResponse(model_spec=self._spec(max(self.model.versions), "serving_default"))
        fill_tensor(response.outputs["y"], outputs["y"])
        return _bytes(response)


def _bytes(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


def main() -> None:
    """Runs the stub as a program until SIGINT or SIGTERM."""
    known = parser(__doc__)
    known.add_argument("--width", type=int, default=-1, help="numbers in a row of x; -1 for any")
    known.add_argument("--fast", action="store_true", help="answer y = the sum of each row, and nothing besides")
    guilty_flag(known)
    flags = known.parse_args()
    model = summing_model(flags.model, flags.width) if flags.fast else StubModel(name=flags.model)
    if not flags.fast:
        specs = {name: TensorSpec("float32", (-1, flags.width)) for name in "xy"}
        (default, function) = model.signatures["serving_default"]
        signature = Signature(default.name, default.method, {"x": specs["x"]}, {"y": specs["y"]})
        model.signatures = {default.name: (signature, function)}

    def make() -> TfServingGrpcStub:
        if not flags.fast:
            return TfServingGrpcStub(model, flags.port)
        stub = FastGrpcStub(model, flags.port)
        stub.guilty = flags.guilty
        return stub

    serve(flags, make)


if __name__ == "__main__":
    main()
