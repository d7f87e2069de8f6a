"""The contract, over a JSON endpoint: many rows a request, one row, and one row by a signature from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.testing.contract import ClientContract
from transforms.testing.json_http.stub import REQUEST, RESPONSE, JsonStub
from transforms.testing.stub_server import StubServer


class TestManyRows(ClientContract):
    stub_class = JsonStub
    dtypes = ()
    has_signature = False
    has_labels = False
    tells_version = False
    visible_kinds = ("short", "long", "scalar", "no_outputs", "malformed")

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Many rows a request."""
        options = options or ClientOptions()
        return open_client(uri, dataclasses.replace(options, request=REQUEST, response=(("", RESPONSE),)))


class TestOneRow(ClientContract):
    stub_class = JsonStub
    dtypes = ()
    has_signature = False
    has_labels = False
    tells_version = False
    max_rows = 1
    visible_kinds = ("short", "no_outputs", "malformed")


class TestSigned(ClientContract):
    """Its signature is that of a file, so that answers have dtypes."""

    stub_class = JsonStub
    dtypes = ("float32", "float64", "int32", "int64", "uint64", "bool")
    has_labels = False
    tells_version = False
    visible_kinds = ("short", "long", "no_outputs", "malformed", "wrong_dtype")
    test_shapes_of_the_signature = None  # type: ignore[assignment]  # it is what the file says
    test_the_signature_asked_for = None  # type: ignore[assignment]  # there is one
    test_model_or_signature_gone_while_running = None  # type: ignore[assignment]  # the signature is never gone
    test_an_output_without_a_batch_dimension_is_the_same_for_every_row = None  # type: ignore[assignment]  # [*] is per row
    test_an_output_that_nobody_wants_spoils_no_answer = None  # type: ignore[assignment]  # a row has all outputs or none

    @pytest.fixture
    def stub(self) -> Iterator[StubServer]:
        """The stub whose signature ``open`` takes for the file's."""
        with self.stub_class() as stub:
            self._served: StubServer | None = stub
            yield stub

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Many rows a request."""
        served = getattr(self, "_served", None)
        signature = next(iter(served.model.signatures.values()))[0] if served is not None else None
        options = options or ClientOptions()
        response = (("", RESPONSE),)
        return open_client(uri, dataclasses.replace(options, signature=signature, request=REQUEST, response=response))
