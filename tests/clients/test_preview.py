"""``preview`` tells what ``predict`` sends, to the byte, and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ClientOptions, RequestPreview
from transforms.clients.tfserving_grpc import TfServingGrpcClient
from transforms.clients.tfserving_rest import TfServingRestClient
from transforms.clients.tfserving_uri import parse_grpc, parse_rest
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving_rest_stub import TfServingRestStub
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, TensorSpec

Inputs = Mapping[str, np.ndarray]


class SpyGrpc(TfServingGrpcClient):
    """Keeps the method and the length of what goes out last."""

    sent: tuple[str, int] = ("", 0)

    async def _call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        self.sent = method, len(request)
        return await super()._call(method, request, timeout_s)


class SpyRest(TfServingRestClient):
    """Keeps the URL and the length of what goes out last."""

    sent: tuple[str, int] = ("", 0)

    async def _send(self, method: str, url: Any, body: bytes | None, timeout_s: float) -> tuple[int, bytes, float | None]:
        self.sent = str(url), len(body or b"")
        return await super()._send(method, url, body, timeout_s)


def compare(client: SpyGrpc | SpyRest, inputs: Inputs, rows: int) -> tuple[RequestPreview, tuple[str, int], bool]:
    """A preview, what was really sent, and whether the preview sent nothing."""

    async def both() -> tuple[RequestPreview, tuple[str, int], bool]:
        async with client:
            await client.metadata(10)
            before = client.sent
            preview = client.preview(inputs, rows)
            silent = client.sent == before
            await client.predict(inputs, rows, 10)
            return preview, client.sent, silent

    return asyncio.run(both())


def examples(method: str) -> StubModel:
    outputs = {"classes": [["a"]], "scores": [[1.0]]} if method == METHOD_CLASSIFY else {"value": np.zeros(1, np.float32)}
    return StubModel.of({"inputs": TensorSpec("string", (-1,))}, {}, lambda _: outputs, method)


X: Inputs = {"x": np.array([[1.5, 2], [3, 4]], np.float32)}
EXAMPLE: Inputs = {"inputs": np.array([b"\n\0"], object)}


@pytest.mark.parametrize("method", [None, METHOD_CLASSIFY, METHOD_REGRESS])
def test_grpc(method: str | None) -> None:
    with TfServingGrpcStub(examples(method) if method else None) as stub:
        client = SpyGrpc(parse_grpc(stub.uri()), ClientOptions())
        preview, sent, silent = compare(client, EXAMPLE if method else X, 1 if method else 2)
        assert silent
        assert (preview.method, preview.body_bytes) == sent
        assert (preview.protocol, preview.address) == ("gRPC", stub.address)


@pytest.mark.parametrize("method", [None, METHOD_CLASSIFY, METHOD_REGRESS])
def test_rest(method: str | None) -> None:
    with TfServingRestStub(examples(method) if method else None) as stub:
        client = SpyRest(parse_rest(stub.uri()), ClientOptions())
        inputs = {"inputs": np.array([b"\n\x0b\n\t\n\x01x\x12\x04\x12\x02\n\0"], object)} if method else X
        preview, sent, silent = compare(client, inputs, 1 if method else 2)
        assert silent
        assert (preview.address, preview.body_bytes) == sent
        assert (preview.protocol, preview.method) == ("HTTP", "POST")
