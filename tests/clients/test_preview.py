"""``preview`` tells what ``predict`` sends, to the byte, and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ClientOptions, RequestPreview
from transforms.clients.mlflow import client as mlflow
from transforms.clients.multi_model_server import http as mms_http
from transforms.clients.open_inference import grpc as oip_grpc
from transforms.clients.open_inference import http as oip_http
from transforms.clients.openai import http as openai_http
from transforms.clients.tfserving import grpc as tfserving_grpc
from transforms.clients.tfserving import rest as tfserving_rest
from transforms.clients.vertex import client as vertex
from transforms.clients.vertex import transport
from transforms.testing.mlflow.stub import MlflowStub
from transforms.testing.multi_model_server.stub import TorchServeStub
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub, OipJsonStub
from transforms.testing.openai.stub import OpenAiStub
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import VertexStub
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, TensorSpec

Inputs = Mapping[str, np.ndarray]


def compare(client: Any, connection: Any, name: str, inputs: Inputs, rows: int) -> tuple[RequestPreview, list[Any]]:
    """A preview, and the arguments of the call by which the request was really sent."""
    calls: list[list[Any]] = []
    send = getattr(connection, name)

    async def spy(*arguments: Any) -> Any:
        calls.append(list(arguments))
        return await send(*arguments)

    setattr(connection, name, spy)

    async def both() -> RequestPreview:
        async with client:
            await client.metadata(10)
            before = len(calls)
            preview: RequestPreview = client.preview(inputs, rows)
            assert len(calls) == before, "a preview sends nothing"
            await client.predict(inputs, rows, 10)
            return preview

    return asyncio.run(both()), calls[-1]


def examples(method: str) -> StubModel:
    outputs = {"classes": [["a"]], "scores": [[1.0]]} if method == METHOD_CLASSIFY else {"value": np.zeros(1, np.float32)}
    return StubModel.of({"inputs": TensorSpec("string", (-1,))}, {}, lambda _: outputs, method)


X: Inputs = {"x": np.array([[1.5, 2], [3, 4]], np.float32)}
EXAMPLE: Inputs = {"inputs": np.array([b"\n\x0b\n\t\n\x01x\x12\x04\x12\x02\n\0"], object)}


@pytest.mark.parametrize("method", [None, METHOD_CLASSIFY, METHOD_REGRESS])
def test_grpc(method: str | None) -> None:
    with TfServingGrpcStub(examples(method) if method else None) as stub:
        client = tfserving_grpc.open(stub.uri(), ClientOptions())
        inputs, rows = (EXAMPLE, 1) if method else (X, 2)
        preview, (called, body, _) = compare(client, client._channel, "call", inputs, rows)
        assert preview == RequestPreview("gRPC", called, stub.address, len(body))


@pytest.mark.parametrize("method", [None, METHOD_CLASSIFY, METHOD_REGRESS])
def test_rest(method: str | None) -> None:
    with TfServingRestStub(examples(method) if method else None) as stub:
        client = tfserving_rest.open(stub.uri(), ClientOptions())
        inputs, rows = (EXAMPLE, 1) if method else (X, 2)
        preview, (verb, url, _, body) = compare(client, client._http, "send", inputs, rows)
        assert preview == RequestPreview("HTTP", verb, str(url), len(body))


def test_open_inference_protocol() -> None:
    with OipGrpcStub() as stub:
        client = oip_grpc.open(stub.uri(), ClientOptions())
        preview, (called, body, _) = compare(client, client._channel, "call", X, 2)
        assert preview == RequestPreview("gRPC", called, stub.address, len(body))
    for kind in (OipHttpStub, OipJsonStub):
        with kind() as stub:
            http = oip_http.open(stub.uri(), ClientOptions())
            preview, (verb, url, _, body, *_) = compare(http, http._connection, "send", X, 2)
            assert preview == RequestPreview("HTTP", verb, str(url), len(body))


def test_multi_model_server() -> None:
    with TorchServeStub() as stub:
        client = mms_http.open(stub.uri(), ClientOptions())
        one: Inputs = {"instances": np.array([{"x": [1.5]}], object)}
        preview, (verb, url, _, body, *_) = compare(client, client._http, "send", one, 1)
        assert preview == RequestPreview("HTTP", verb, str(url), len(body))


def test_mlflow() -> None:
    with MlflowStub() as stub:
        client = mlflow.open(stub.uri(), ClientOptions(signature=stub.model.signatures["serving_default"][0]))
        preview, (verb, url, _, body) = compare(client, client._http, "send", X, 2)
        assert preview == RequestPreview("HTTP", verb, str(url), len(body))


def test_openai() -> None:
    with OpenAiStub() as stub:
        client = openai_http.open(stub.uri(), ClientOptions())
        texts: Inputs = {"input": np.array([b"one", b"two"], object)}
        preview, (verb, url, _, body, *_) = compare(client, client._http, "send", texts, 2)
        assert preview == RequestPreview("HTTP", verb, str(url), len(body))


@pytest.mark.parametrize(
    ("kind", "protocol", "method"), [(VertexGrpcStub, "gRPC", transport.PREDICT), (VertexRestStub, "HTTP", "POST")]
)
def test_vertex(kind: type[VertexStub], protocol: str, method: str) -> None:
    with kind() as stub:
        client = vertex.open(stub.uri(), ClientOptions())
        assert isinstance(client, vertex.VertexClient)
        rows: Inputs = {"instances": np.array([{"x": [1.5]}, {"x": [2.5]}], object)}
        preview, (body, _) = compare(client, client._transport, "send", rows, 2)
        assert (preview.protocol, preview.method, preview.body_bytes) == (protocol, method, len(body))
        assert stub.address in preview.address
