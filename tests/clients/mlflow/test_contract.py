"""The contract, over MLflow's scoring server: tables and objects as answers, Azure ML, and records as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.testing.contract import ClientContract
from transforms.testing.mlflow.stub import MlflowStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer


class _Signed(ClientContract):
    """Its signature is that of a file: the server publishes none."""

    stub_class = MlflowStub
    dtypes = ("float32", "float64", "int32", "int64", "uint64", "bool")
    has_labels = False
    tells_version = False
    test_shapes_of_the_signature = None  # type: ignore[assignment]  # it is what the file says
    test_the_signature_asked_for = None  # type: ignore[assignment]  # there is one
    test_model_or_signature_gone_while_running = None  # type: ignore[assignment]  # the signature is never gone

    query = ""
    table = False

    @pytest.fixture
    def stub(self) -> Iterator[StubServer]:
        """The stub whose signature ``open`` takes for the file's."""
        with MlflowStub() as stub:
            stub.table = self.table
            self._served: StubServer | None = stub
            yield stub

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """With the signature of the model that the stub serves now."""
        served = getattr(self, "_served", None)
        model = StubModel() if served is None else served.model
        signature = next(iter(model.signatures.values()))[0]
        return open_client(uri + self.query, dataclasses.replace(options or ClientOptions(), signature=signature))


class TestObjects(_Signed):
    """The model returns an object with an array for each output."""


class TestTable(_Signed):
    table = True
    visible_kinds = ("short", "long", "no_outputs", "malformed", "wrong_dtype")
    test_an_output_that_nobody_wants_spoils_no_answer = None  # type: ignore[assignment]  # rows of a table are whole


class TestAzure(_Signed):
    query = "/score"


class TestRecordsAsTheyAre(ClientContract):
    stub_class = MlflowStub
    dtypes = ()
    has_signature = False
    has_labels = False
    tells_version = False
    visible_kinds = ("short", "long", "no_outputs", "malformed")

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Without a signature, the URI names the form."""
        return open_client(f"{uri}?form=dataframe_records", options)
