"""The stubs against Google's own clients: what our client is tested with has to be what google-cloud-aiplatform speaks."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceClient, transports
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Any_
from google.protobuf.struct_pb2 import Value
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no types

from tests.clients.tfserving.test_grpc import TIMEOUT_S
from transforms.testing.stub_model import StubModel
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import PROJECT, REGION, VertexStub

both = pytest.mark.parametrize("stub_class", [VertexGrpcStub, VertexRestStub])


def official(stub: VertexStub) -> Any:
    if stub.transport == "grpc":
        channel = grpc.insecure_channel(stub.address)
        return PredictionServiceClient(transport=transports.PredictionServiceGrpcTransport(channel=channel))
    rest = transports.PredictionServiceRestTransport(
        host=stub.address, credentials=AnonymousCredentials(), url_scheme="http"
    )
    return PredictionServiceClient(transport=rest)


def predict(client: Any, *instances: Any, endpoint: str = "model", parameters: Any = None) -> Any:
    return client.predict(
        endpoint=f"projects/{PROJECT}/locations/{REGION}/endpoints/{endpoint}",
        instances=[json_format.ParseDict(instance, Value()) for instance in instances],
        parameters=json_format.ParseDict(parameters, Value()),
        retry=None,
        timeout=TIMEOUT_S,
    )


@both
def test_a_prediction(stub_class: type[VertexStub]) -> None:
    with stub_class(StubModel.of({}, {}, lambda inputs: {"same": list(inputs["instances"])})) as stub:
        instances = [{"a": [1, 2.5], "b": None}, "text", [True, {"b64": "/w=="}]]
        with official(stub) as client:
            answer = predict(client, *instances, parameters={"threshold": 0.5})
        assert [json_format.MessageToDict(value) for value in type(answer).pb(answer).predictions] == instances
        assert answer.deployed_model_id == stub.deployed_model
        assert answer.model_version_id == "1"
        assert answer.model_display_name == stub.display_name
        assert stub.last_parameters == {"threshold": 0.5}


@both
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INVALID_ARGUMENT", exceptions.BadRequest),
        ("FAILED_PRECONDITION", exceptions.BadRequest),
        ("PERMISSION_DENIED", exceptions.Forbidden),
        ("RESOURCE_EXHAUSTED", exceptions.TooManyRequests),
        ("UNAVAILABLE", exceptions.ServiceUnavailable),
    ],
)
def test_a_refusal(stub_class: type[VertexStub], code: str, error: type[exceptions.GoogleAPICallError]) -> None:
    with stub_class() as stub, official(stub) as client:
        stub.faults.fail_next(1, code, "the reason", retry_after_s=2.5)
        with pytest.raises(error, match="the reason") as caught:
            predict(client, {"x": [1.0]})
        (detail,) = caught.value.details  # over HTTP, Google's client leaves them as JSON
        info = json_format.ParseDict(detail, Any_()) if isinstance(detail, dict) else detail
        if isinstance(info, Any_):
            retry_info = RetryInfo()
            assert info.Unpack(retry_info)
            info = retry_info
        assert (info.retry_delay.seconds, info.retry_delay.nanos) == (2, 500_000_000)


@both
def test_an_endpoint_that_is_not_there(stub_class: type[VertexStub]) -> None:
    with stub_class() as stub, official(stub) as client, pytest.raises(exceptions.NotFound):
        predict(client, {"x": [1.0]}, endpoint="other")
