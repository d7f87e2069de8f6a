"""Every signature of TensorFlow Serving's own test models, over both protocols, against what it has to compute."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from tests.pipeline.embedded.rpc import call, floats, predict
from tests.pipeline.embedded.servers import TESTDATA, Served, needs_testdata
from transforms.clients.tfserving import messages
from transforms.clients.wire.tensorflow.example import build_example
from transforms.clients.wire.tensorflow.messages import SignatureDefMap

pytestmark = needs_testdata

HALF_PLUS = [
    ("half_plus_two_cpu", 123, 2.0),
    ("half_plus_two_2_versions", 123, 2.0),
    ("half_plus_two_2_versions", 124, 2.0),
    ("half_plus_two_tf2_cpu", 123, 2.0),
    ("half_plus_three", 123, 3.0),
]


def listed() -> list[tuple[str, int, str, dict[str, Any]]]:
    """Returns model, version, signature name and signature of SIGNATURES.json."""
    if not TESTDATA.is_dir():
        return []
    found = []
    for entry in json.loads((TESTDATA / "SIGNATURES.json").read_text()):
        folder, version = entry["dir"].split("/")
        for name, signature in entry["signatures"].items():
            found.append((folder.removeprefix("saved_model_"), int(version), name, signature))
    return found


@pytest.mark.parametrize(("model", "version", "name", "signature"), listed(), ids=lambda v: str(v)[:40])
def test_published(channel: grpc.Channel, model: str, version: int, name: str, signature: dict[str, Any]) -> None:
    """The metadata has every signature with its method, names and dtypes."""
    request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    request.model_spec.version.value = version
    response = call(channel, messages.GET_MODEL_METADATA, request)
    published = SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def[name]
    assert published.method_name == signature["method_name"]
    assert sorted(published.inputs) == sorted(signature["inputs"])
    assert sorted(published.outputs) == sorted(signature["outputs"])
    for alias, expected in signature["inputs"].items():
        assert published.inputs[alias].name == expected["tensor"]


@pytest.mark.parametrize(("model", "version", "plus"), HALF_PLUS)
def test_predict(served: Served, channel: grpc.Channel, model: str, version: int, plus: float) -> None:
    """Predict computes x / 2 + 2 (or 3)."""
    x = floats([[1], [2], [5]])
    if model == "half_plus_three":
        x = floats(2)
    got = predict(channel, model, x=x)["y"]
    assert got.tolist() == (x / 2 + plus).tolist()
    path = f"/v1/models/{model}/versions/{version}:predict"
    status, body = served.rest(path, {"inputs": x.tolist()})
    assert (status, json.loads(body)) == (200, {"outputs": (x / 2 + plus).tolist()})


@pytest.mark.parametrize(("model", "version", "plus"), HALF_PLUS[:4])
@pytest.mark.parametrize(("name", "added"), [("classify_x_to_y", 0), ("regress_x_to_y", 0), ("regress_x_to_y2", 1)])
def test_examples(
    served: Served, channel: grpc.Channel, model: str, version: int, plus: float, name: str, added: float
) -> None:
    """Classify and Regress compute the same from tf.Example; y2 is x / 2 + 3."""
    method = name.partition("_")[0]
    kinds = {
        "classify": (messages.CLASSIFY, messages.ClassificationRequest),
        "regress": (messages.REGRESS, messages.RegressionRequest),
    }
    path, kind = kinds[method]
    request = kind()
    request.model_spec.name = model
    request.model_spec.version.value = version
    request.model_spec.signature_name = name
    request.input.example_list.examples.extend([build_example({"x": 1.0}), build_example({"x": [5.0]})])
    result = call(channel, path, request).result
    expected = [0.5 + plus + added, 2.5 + plus + added]
    if method == "classify":
        assert [[c.score for c in entry.classes] for entry in result.classifications] == [[value] for value in expected]
    else:
        assert [entry.value for entry in result.regressions] == expected
    body = {"signature_name": name, "examples": [{"x": 1.0}, {"x": 5.0}]}
    status, answer = served.rest(f"/v1/models/{model}/versions/{version}:{method}", body)
    assert status == 200, answer
    results = json.loads(answer)["results"]
    assert results == ([[["", value]] for value in expected] if method == "classify" else expected)
