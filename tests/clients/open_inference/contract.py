"""The contract for the Open Inference Protocol, which has neither signatures to choose from nor labels nor unknown ranks."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest

from transforms.clients import check_uri
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.open_inference.grpc import OipGrpcClient
from transforms.clients.open_inference.http import OipHttpClient
from transforms.clients.open_inference.uri import parse_grpc, parse_http
from transforms.clients.selection import select_outputs
from transforms.errors import ConfigError, NotServedError, UnavailableError
from transforms.testing.contract import TIMEOUT_S, ClientContract, rows_of
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.types import TensorSpec

OipStub = OipGrpcStub | OipHttpStub


def traits_of(stub: StubServer) -> Any:
    assert isinstance(stub, OipStub)
    return stub.traits


class OipContract(ClientContract):
    """``ClientContract`` with what this protocol has in place of signatures, and what it has besides."""

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Looks for another served version with every request, instead of every few seconds."""
        options = options or ClientOptions()
        if issubclass(self.stub_class, OipGrpcStub):
            return select_outputs(OipGrpcClient(parse_grpc(uri), options, version_refresh_s=0), options.outputs)
        return select_outputs(OipHttpClient(parse_http(uri), options, version_refresh_s=0), options.outputs)

    async def _metadata(self, client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    # ---- in place of the contract's

    def test_metadata(self, stub: StubServer) -> None:
        stub.model.versions = {3: "AVAILABLE", 4: "AVAILABLE", 5: "LOADING"}
        metadata = self.use(stub, self._metadata)
        assert (metadata.model, metadata.version, metadata.max_rows) == ("model", "4", None)
        expected = stub.model.signatures["serving_default"][0]
        assert metadata.signature == dataclasses.replace(expected, name="infer")
        assert metadata.signature.known

    @pytest.mark.parametrize("shape", [(), (2, 3), (-1, 4)])
    def test_shapes_of_the_signature(self, stub: StubServer, shape: tuple[int, ...] | None) -> None:
        """There is no form for an unknown rank."""
        super().test_shapes_of_the_signature(stub, shape)

    def test_a_version_and_a_label_in_the_uri(self, stub: StubServer) -> None:
        """A version is any text; the one that answered is told."""
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
        stub.model.labels = {"stable": 1}

        async def work(client: ModelClient) -> Any:
            x = {"x": rows_of(1)}
            return (await client.metadata(TIMEOUT_S)).version, (await client.predict(x, 1, TIMEOUT_S)).version

        assert self.use(stub, work) == ("2", "2")
        assert self.use(stub, work, stub.uri(version=1)) == ("1", "1")
        assert self.use(stub, work, stub.uri(label="stable")) == ("stable", "1")
        traits_of(stub).tells_version = False  # KServe, which over gRPC takes any version in the request, and ignores it
        assert self.use(stub, work, stub.uri(version=1)) == ("1", "")
        assert self.use(stub, work) == ("2", "2")  # the one that it lists

    def test_a_version_that_answers_do_not_name_is_looked_up_again(self, stub: StubServer) -> None:
        traits_of(stub).tells_version = False

        async def work(client: ModelClient) -> str:
            assert (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version == "1"
            stub.model.flip(2)
            async with asyncio.timeout(TIMEOUT_S):
                while (version := (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version) == "1":
                    pass
            return version

        assert self.use(stub, work) == "2"

    def test_an_unknown_model_version_and_label(self, stub: StubServer) -> None:
        stub.model.versions = {7: "AVAILABLE"}
        for uri in (stub.uri(model="other"), stub.uri(version=8), stub.uri(label="no_such")):
            error = self.metadata_error(uri)
            assert isinstance(error, NotServedError), uri
        assert "it has the versions 7 (READY)" in str(self.metadata_error(stub.uri(version=8)))
        if "model_repository" in traits_of(stub).extensions:
            assert "the server has the models model" in str(self.metadata_error(stub.uri(model="other")))
        traits_of(stub).extensions = ()  # the repository is closed: the metadata of no particular version tell
        assert "it has the versions 7 (READY)" in str(self.metadata_error(stub.uri(version=8)))

    def test_the_signature_asked_for(self, stub: StubServer) -> None:
        with pytest.raises(ConfigError, match="no signatures"):
            check_uri(stub.uri(signature="twice"))

    # ---- besides

    def test_a_model_not_ready_is_not_available_yet(self, stub: StubServer) -> None:
        traits_of(stub).ready = False
        error = self.metadata_error(stub.uri())
        assert isinstance(error, UnavailableError)
        assert "not ready" in str(error)

    def test_a_model_without_declared_inputs(self, stub: StubServer) -> None:
        """Records are sent as they are: an object's fields are inputs, anything else is the sole input's value."""
        traits_of(stub).declares = False
        sent: list[dict[str, np.ndarray]] = []

        def remember(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            sent.append(inputs)
            return {"y": np.arange(2.0)}

        stub.model = StubModel.of({}, {}, remember)

        async def work(client: ModelClient, records: list[Any]) -> Any:
            metadata = await client.metadata(TIMEOUT_S)
            assert not metadata.signature.known
            column = np.fromiter(records, dtype=object, count=2)
            return await client.predict({"instances": column}, 2, TIMEOUT_S)

        records = [{"a": [1, 2.5], "b": 3, "t": "ä", "f": True}, {"a": [3, 4], "b": 4, "t": {"b64": "YWI="}, "f": False}]
        answer = self.use(stub, lambda client: work(client, records))
        assert list(answer.outputs["y"]) == [0, 1]
        assert {name: (array.dtype.name, array.tolist()) for name, array in sent[0].items()} == {
            "a": ("float64", [[1, 2.5], [3, 4]]),
            "b": ("int64", [3, 4]),
            "t": ("object", ["ä".encode(), b"ab"]),
            "f": ("bool", [True, False]),
        }
        self.use(stub, lambda client: work(client, [[1, 2], [3, 4]]))
        assert sent[1]["input-0"].tolist() == [[1, 2], [3, 4]]

    def test_a_name_that_has_to_be_quoted(self, stub: StubServer) -> None:
        spec = TensorSpec("float32", (-1,))
        stub.model = StubModel.of({"x": spec}, {"y": spec}, lambda i: {"y": i["x"]})
        stub.model.name = "a b%ü"
        uri = stub.uri(model="a%20b%25%C3%BC")
        answer = self.use(stub, lambda client: client.predict({"x": np.ones(1, np.float32)}, 1, TIMEOUT_S), uri)
        assert answer.version == "1"


class TritonContract(OipContract):
    """What a server with Triton's extension model_configuration tells."""

    def test_the_servers_own_limit_of_rows(self, stub: StubServer) -> None:
        traits_of(stub).max_batch_size = 16
        assert self.use(stub, self._metadata).max_rows == 16
        traits_of(stub).extensions = ()
        assert self.use(stub, self._metadata).max_rows is None
