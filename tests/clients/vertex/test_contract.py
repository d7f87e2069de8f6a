"""The contract, over both of Vertex AI's transports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ModelClient
from transforms.errors import NotServedError, RejectedError
from transforms.testing.contract import TIMEOUT_S, ClientContract
from transforms.testing.stub_server import StubServer
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub


class VertexContract(ClientContract):
    """An endpoint publishes no signature, and its address names neither a version nor a signature."""

    has_signature = False
    has_labels = False
    visible_kinds = ("short", "long", "scalar", "no_outputs", "malformed")
    sole_output = "predictions"
    where = "endpoint model"
    dtypes = ("float16", "float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32", "bool")

    @staticmethod
    def over_tls(uri: str) -> str:
        return uri.replace("api_endpoint=", "api_endpoint=https://")

    test_a_version_and_a_label_in_the_uri = None  # type: ignore[assignment]  # not collected: neither can be asked for

    def test_metadata(self, stub: StubServer) -> None:
        async def work(client: ModelClient) -> Any:
            return await client.metadata(TIMEOUT_S)

        metadata = self.use(stub, work)
        assert (metadata.model, metadata.version) == ("model", "")
        assert not metadata.signature.known
        assert stub.faults.requests == 0  # the model was not made to work

    def test_an_unknown_model_version_and_label(self, stub: StubServer) -> None:
        error = self.metadata_error(stub.uri(model="other"))
        assert isinstance(error, NotServedError)
        assert "endpoints/other` not found" in str(error)

    def test_a_model_still_loading_is_not_available_yet(self, stub: StubServer) -> None:
        """An endpoint to which nothing is deployed yet."""
        stub.model.versions = {}
        error = self.metadata_error(stub.uri())
        assert isinstance(error, NotServedError)
        assert "no deployed models" in str(error)

    def test_not_a_number_and_infinities(self, stub: StubServer) -> None:
        """JSON has no form for them: the record is at fault, and the message says where but not what."""
        for value in (np.nan, np.inf, -np.inf):
            x = np.array([[0.5, 1], [2, value]], np.float32)
            with pytest.raises(RejectedError, match=r"instance\[1\]\.x\[1\] is NaN or infinite"):
                self.predict(stub, x)
        assert stub.faults.requests == 0


class TestVertexGrpc(VertexContract):
    stub_class = VertexGrpcStub


class TestVertexRest(VertexContract):
    stub_class = VertexRestStub
