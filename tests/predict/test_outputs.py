"""The outputs that are wanted of a model, in other people's pipelines."""

from __future__ import annotations

from typing import Any

from apache_beam.ml.inference.base import RunInference

from tests.beam_run import run
from transforms import Predict
from transforms.handlers import TFServingModelHandler
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import TensorSpec


def test_only_those_are_asked_for_and_come_back() -> None:
    spec = TensorSpec("float32", (-1,))
    outputs = dict.fromkeys(("a", "b", "c"), spec)
    model = StubModel.of({"x": spec}, outputs, lambda inputs: dict.fromkeys(outputs, inputs["x"]))

    def of_predict(found: list[Any]) -> None:
        assert [sorted(outcome.outputs) for outcome in found] == [["a", "c"]]

    def of_handler(found: list[Any]) -> None:
        assert [sorted(result.inference) for result in found] == [["b"]]

    with TfServingGrpcStub(model) as stub:
        uri = stub.uri()
        run([{"x": 1.0}], lambda rows: rows | Predict(uri, outputs=("a", "c")), of_predict)
        assert sorted(stub.outputs_asked) == ["a", "c"]
        run([{"x": 1.0}], lambda rows: rows | RunInference(TFServingModelHandler(uri, outputs=("b",))), of_handler)
        assert stub.outputs_asked == ("b",)
