"""The URI of the wrong port of the two that a server has: the message has the URI that works, whole, to be copied."""

from __future__ import annotations

import asyncio
import re

import pytest

from transforms.clients import open_client
from transforms.errors import NotServedError
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import ModelMetadata

TIMEOUT_S = 20.0


def described(uri: str) -> ModelMetadata:
    async def run() -> ModelMetadata:
        async with open_client(uri) as client:
            return await client.metadata(TIMEOUT_S)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("stub_class", "wrong", "is_so"),
    [
        (TfServingGrpcStub, "http://{at}/v1/models/{model}", "it speaks HTTP/2, as a gRPC port does, not HTTP/1"),
        (TfServingRestStub, "grpc://{at}/{model}", "it speaks HTTP/1, not gRPC"),
        (OipGrpcStub, "oip+http://{at}/{model}", "it speaks HTTP/2, as a gRPC port does, not HTTP/1"),
        (OipHttpStub, "oip+grpc://{at}/{model}", "it speaks HTTP/1, not gRPC"),
    ],
)
def test_the_message_has_the_uri_that_works(stub_class: type[StubServer], wrong: str, is_so: str) -> None:
    with stub_class() as stub:
        with pytest.raises(NotServedError, match=is_so) as raised:
            described(wrong.format(at=stub.address, model=stub.model.name))
        cure = re.search(r"; for [^;]* port use (\S+)$", str(raised.value))
        assert cure is not None, str(raised.value)
        assert described(cure[1]).model == stub.model.name


def test_a_protocol_that_has_no_grpc_says_what_is_there() -> None:
    with TfServingGrpcStub() as stub, pytest.raises(NotServedError, match="it speaks HTTP/2, as a gRPC port does"):
        described(f"mms+http://{stub.address}/m")
