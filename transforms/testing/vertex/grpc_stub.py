"""A stub of Vertex AI's gRPC API: ``google.cloud.aiplatform.v1.PredictionService/Predict``, with google.rpc.Status.

    python -m transforms.testing.vertex.grpc_stub --port 0 --latency_ms 20

prints its model URI as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.cloud.aiplatform_v1.types.prediction_service import PredictRequest, PredictResponse
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # likewise

from transforms.clients.vertex.transport import PREDICT
from transforms.testing.faults import StubError
from transforms.testing.grpc_stub import GARBAGE, GrpcStub, Handler
from transforms.testing.vertex.stub import VertexStub, serve


class VertexGrpcStub(VertexStub, GrpcStub):
    """An endpoint over gRPC. See ``VertexStub``.

    Attributes:
        status_in_details: If set, the status code in the details of an error, which then differs from the error's own.
    """

    transport = "grpc"
    status_in_details: int | None = None

    def _handlers(self) -> dict[str, Handler]:
        return {PREDICT: self._handle}

    async def _handle(self, body: bytes, context: Any) -> bytes:
        try:
            return await self._answered(body, context)
        except StubError as error:
            code = getattr(grpc.StatusCode, error.code)
            status = Status(code=self.status_in_details or code.value[0], message=error.message)
            if error.retry_after_s is not None:
                info = RetryInfo()
                info.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
                status.details.add().Pack(info)
            await context.abort(code, error.message, (("grpc-status-details-bin", status.SerializeToString()),))
            raise AssertionError("abort raises") from error

    async def _answered(self, body: bytes, context: Any) -> bytes:
        self._check_size(len(body))
        request = PredictRequest.pb().FromString(body)
        # json_format and not our own decoder: the stub has to be another reading of the same definitions.
        instances = [json_format.MessageToDict(value) for value in request.instances]
        parameters = json_format.MessageToDict(request.parameters) if request.HasField("parameters") else None
        response, fault = await self._answer_instances(
            request.endpoint,
            instances,
            parameters,
            context.invocation_metadata(),
            lambda: self._hang_up(context),
        )
        if fault is not None and fault.kind == "malformed":
            return GARBAGE
        predictions = response.pop("predictions")
        message = json_format.ParseDict(response, PredictResponse.pb()())
        if isinstance(predictions, list):
            message.predictions.extend([json_format.ParseDict(value, Value()) for value in predictions])
        serialized: bytes = message.SerializeToString()
        return serialized


if __name__ == "__main__":
    serve(VertexGrpcStub, __doc__)
