"""The contract, over an endpoint of SageMaker: many rows a request, and one row."""

from __future__ import annotations

import dataclasses

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.testing.contract import ClientContract
from transforms.testing.json_http.app import REQUEST, RESPONSE
from transforms.testing.sagemaker.stub import SageMakerStub
from transforms.testing.stub_server import StubServer


class _SageMaker(ClientContract):
    stub_class = SageMakerStub
    dtypes = ()
    has_signature = False
    has_labels = False
    tells_version = False  # it tells a variant: test_client.py
    where = "endpoint model"
    test_a_version_and_a_label_in_the_uri = None  # type: ignore[assignment]  # not collected: neither can be asked for

    def test_headers_travel_and_stay_secret(self, stub: StubServer) -> None:
        """An authorization of one's own is for a gateway before the endpoint: then nothing is signed."""
        assert isinstance(stub, SageMakerStub)
        stub.gateway = "Bearer s3cret"
        super().test_headers_travel_and_stay_secret(stub)
        assert stub.signatures == 0

    @staticmethod
    def over_tls(uri: str) -> str:
        return uri.replace("endpoint=http://", "endpoint=https://")


class TestManyRows(_SageMaker):
    visible_kinds = ("short", "long", "scalar", "no_outputs", "malformed")

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Many rows a request."""
        options = options or ClientOptions()
        return open_client(uri, dataclasses.replace(options, request=REQUEST, response=(("", RESPONSE),)))


class TestOneRow(_SageMaker):
    max_rows = 1
    visible_kinds = ("short", "no_outputs", "malformed")
