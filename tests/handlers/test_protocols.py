"""Each named handler over a stub of its own protocol; the model in the worker on the real TensorFlow runtime."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…
from apache_beam.testing.util import assert_that

from pipeline.embedded.digits import MODEL_DIR, load_digits
from transforms.handlers import (
    JsonHttpModelHandler,
    MmsModelHandler,
    OpenInferenceModelHandler,
    SageMakerModelHandler,
    SavedModelHandler,
    TFServingModelHandler,
    UriModelHandler,
    VertexModelHandler,
    is_failure,
)
from transforms.testing.json_http.stub import JsonStub
from transforms.testing.multi_model_server.stub import TorchServeStub
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.sagemaker.stub import STUB_CREDENTIALS, SageMakerStub
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub

POISON = 666.0


@pytest.mark.parametrize(
    ("handler", "stub_class"),
    [
        (TFServingModelHandler, TfServingGrpcStub),
        (TFServingModelHandler, TfServingRestStub),
        (OpenInferenceModelHandler, OipGrpcStub),
        (OpenInferenceModelHandler, OipHttpStub),
        (VertexModelHandler, VertexGrpcStub),
        (VertexModelHandler, VertexRestStub),
        (MmsModelHandler, TorchServeStub),
        (JsonHttpModelHandler, JsonStub),
        (SageMakerModelHandler, SageMakerStub),
    ],
)
def test_rows_in_rows_out_and_the_poison_one_alone_fails(
    handler: type[UriModelHandler], stub_class: type[StubServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STUB_CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STUB_CREDENTIALS.secret_key)
    values = [1.0, POISON, 2.0, 3.0]
    with stub_class() as stub:
        stub.faults.poison = lambda row: POISON in np.asarray(row["x"])
        elements = [{"x": np.array([value], np.float32)} for value in values]
        results = _results(handler(stub.uri(), retry_deadline_s=0.2), elements)
    assert [is_failure(result) for result in results] == [False, True, False, False]
    assert [_first(result.inference) for result in results if not is_failure(result)] == [2.5, 3.0, 3.5]


def _results(handler: UriModelHandler, elements: list[Any]) -> list[Any]:
    return list(handler.run_inference(elements, handler.load_model()))


def _first(outputs: Any) -> float:
    """The only number of an answer, whatever a protocol calls its output."""
    [value] = outputs.values()
    return float(np.ravel(np.asarray(value))[0])


def test_a_saved_model_in_the_worker() -> None:
    """Loaded by Beam's RunInference, with the bytes of images as elements."""
    digits = load_digits()[:40]

    def check(lists: list[list[Any]]) -> None:
        [found] = lists
        assert [result.example for result in found] == [digit.png for digit in digits]
        right = sum(int(result.inference["label"]) == digit.label for result, digit in zip(found, digits, strict=True))
        assert right >= 38

    handler = SavedModelHandler(f"saved_model://{MODEL_DIR}")
    with BeamPipeline(runner=FnApiRunner()) as pipeline:
        images = pipeline | beam.Create([digit.png for digit in digits], reshuffle=False)
        assert_that(images | RunInference(handler) | beam.combiners.ToList(), check)
