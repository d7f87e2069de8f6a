"""The contract, over the Open Inference Protocol's REST API: with binary tensors, as Triton, and with JSON, as MLServer."""

from __future__ import annotations

import pytest

from tests.clients.open_inference.contract import OipContract, TritonContract
from transforms.clients.open_inference.tensors import DTYPE_NAMES
from transforms.testing.open_inference.http_stub import OipHttpStub, OipJsonStub
from transforms.testing.stub_server import StubServer


class TestOipHttp(TritonContract):
    stub_class = OipHttpStub
    dtypes = tuple(DTYPE_NAMES.values())
    asks_for_outputs = True


class TestOipJson(OipContract):
    stub_class = OipJsonStub
    # No bytes that are not UTF-8, float16 or bfloat16 in JSON: ``test_http.py`` has what becomes of them.
    asks_for_outputs = True
    dtypes = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")

    @pytest.mark.skip(reason="only a server with Triton's model configuration tells which inputs are optional")
    def test_an_input_left_to_its_default(self, stub: StubServer) -> None: ...

    @pytest.mark.skip(reason="only a server with the repository's index tells that a model is loading")
    def test_a_model_still_loading_is_not_available_yet(self, stub: StubServer) -> None: ...
