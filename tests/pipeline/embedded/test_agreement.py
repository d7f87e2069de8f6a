"""One SavedModel, three ways: over gRPC and over REST from the embedded server, and in this process. They agree.

TensorFlow Serving's own test models are predicted with every signature that they have, and so are the project's models. What
is compared is what a caller gets: metadata, outputs with their dtypes, versions, and errors with their text.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.embedded.digits import MODEL_DIR, load_digits
from tests.pipeline.embedded.servers import KINDS_DIR, TESTDATA, Served, needs_testdata
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.tf_runtime.meta_graph import signatures_of
from transforms.clients.tf_runtime.session import TensorFlowSession
from transforms.clients.wire.tensorflow.example import build_example
from transforms.errors import ModelError, NotServedError, RejectedError
from transforms.types import Answer, ModelMetadata, Signature, TensorSpec

TIMEOUT_S = 60.0
ROWS = 3
EXAMPLES = [build_example({"x": x, "x2": x}) for x in (1.0, 5.0, -2.5)]
NOT_OVER_REST = ("float16", "bfloat16", "uint16", "complex64", "complex128")


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on disk, and its name on the server."""

    name: str
    folder: Path
    version: int

    def uris(self, served: Served, signature: str) -> dict[str, str]:
        query = f"?signature={signature}"
        return {
            "grpc": f"grpc://127.0.0.1:{served.grpc_port}/{self.name}@{self.version}{query}",
            "rest": f"http://127.0.0.1:{served.rest_port}/v1/models/{self.name}/versions/{self.version}{query}",
            "here": f"saved_model://{self.folder}{query}&version={self.version}",
        }


def tensorflow_serving_models() -> list[Model]:
    if not TESTDATA.is_dir():
        return []
    entries = json.loads((TESTDATA / "SIGNATURES.json").read_text())
    folders = [entry["dir"].split("/") for entry in entries]
    return [Model(name.removeprefix("saved_model_"), TESTDATA / name, int(version)) for name, version in folders]


def signature_names(model: Model) -> list[str]:
    [folder] = [f for f in model.folder.iterdir() if f.name.isdecimal() and int(f.name) == model.version]
    session = TensorFlowSession(folder)
    names = [name for name in signatures_of(session.meta_graph_def) if name != "__saved_model_init_op"]
    session.close()
    return names


def sample(name: str, spec: TensorSpec, rows: int) -> np.ndarray:
    """Values to send: different in every place."""
    shape = () if spec.shape == () else (rows, *(size if size > 0 else 2 for size in (spec.shape or ())[1:]))
    count = int(np.prod(shape))
    if name == "image_bytes":
        return np.array([digit.png for digit in load_digits()[:rows]], dtype=object)
    if name == "inputs" and spec.dtype == "string":
        return np.array(EXAMPLES, dtype=object)  # a Predict signature that parses them itself
    if spec.dtype == "string":
        return np.array([f"b{i}é".encode() for i in range(count)], dtype=object).reshape(shape)
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    return (np.arange(count).reshape(shape) * (1 if dtype.kind in "iub" else 1.5)).astype(dtype)


def request(signature: Signature) -> tuple[dict[str, np.ndarray], int]:
    if signature.takes_examples:
        return {"examples": np.array(EXAMPLES, dtype=object)}, ROWS
    rows = signature.rows_per_request or (ROWS if signature.inputs else 1)
    return {name: sample(name, spec, rows) for name, spec in signature.inputs.items()}, rows


def ask(uri: str, inputs: Mapping[str, np.ndarray], rows: int) -> Answer | ModelError:
    async def run() -> Answer:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await client.predict(inputs, rows, TIMEOUT_S)

    try:
        return asyncio.run(run())
    except ModelError as error:
        return error


def metadata_of(uri: str) -> ModelMetadata:
    async def run() -> ModelMetadata:
        async with open_client(uri) as client:
            return await client.metadata(TIMEOUT_S)

    return asyncio.run(run())


def reason(error: ModelError) -> str:
    """What went wrong, without who said it and by which code."""
    return re.sub(r"^model \S+ at \S+ ((HTTP \d+|[A-Z_]+): )?", "", str(error))


def assert_same(expected: Answer | ModelError, got: Answer | ModelError, where: str) -> None:
    if isinstance(expected, ModelError):
        assert isinstance(got, ModelError), where
        assert (type(got), reason(got)) == (type(expected), reason(expected)), where
        return
    assert isinstance(got, Answer), f"{where}: {got}"
    assert got.version == expected.version, where
    assert list(got.outputs) == list(expected.outputs), where
    for name, values in expected.outputs.items():
        if isinstance(values, np.ndarray):
            other = got.outputs[name]
            assert isinstance(other, np.ndarray), where
            assert (other.dtype, other.shape) == (values.dtype, values.shape), f"{where}: {name}"
            np.testing.assert_array_equal(other, values, err_msg=f"{where}: {name}")
        else:
            assert got.outputs[name] == values, f"{where}: {name}"


def agree(served: Served, model: Model, name: str) -> Answer | ModelError:
    """Asserts that the three agree about one signature; returns what they say."""
    uris = model.uris(served, name)
    here = metadata_of(uris["here"])
    where = f"{model.name}@{model.version} {name}"
    over_grpc = metadata_of(uris["grpc"])
    assert (over_grpc.version, over_grpc.signature) == (here.version, here.signature), where
    inputs, rows = request(here.signature)
    expected = ask(uris["grpc"], inputs, rows)
    assert_same(expected, ask(uris["here"], inputs, rows), where)
    specs = here.signature.inputs.values()
    if any(spec.dtype in NOT_OVER_REST for spec in specs) or not specs:
        return expected  # TensorFlow Serving's REST API takes neither
    over_rest = metadata_of(uris["rest"])
    assert (over_rest.version, over_rest.signature) == (here.version, here.signature), where
    assert_same(expected, ask(uris["rest"], inputs, rows), f"{where} over REST")
    return expected


# ---------------------------------------------------------------------- TensorFlow Serving's models


@needs_testdata
@pytest.mark.parametrize(
    "model",
    [model for model in tensorflow_serving_models() if model.name != "counter"],
    ids=lambda model: f"{model.name}@{model.version}",
)
def test_tensorflow_serving_models(served: Served, model: Model) -> None:
    """Every signature of every version; the answers themselves are computed in test_signatures.py."""
    answers = {name: agree(served, model, name) for name in signature_names(model)}
    refused = sorted(name for name, answer in answers.items() if isinstance(answer, ModelError))
    # Their inputs are tensors of numbers, although their method takes examples: nobody can call them, with any server.
    assert [name for name in refused if "x2" not in name] == [], answers
    assert all(isinstance(answers[name], RejectedError) for name in refused)


@needs_testdata
def test_the_counter(served: Served) -> None:
    """Stateful, and signatures without inputs: the same calls in the same order, on the server and here. Over REST,
    TensorFlow Serving has no form for a request without inputs.
    """
    [model] = [model for model in tensorflow_serving_models() if model.name == "counter"]
    assert signature_names(model) == ["get_counter", "incr_counter", "incr_counter_by", "reset_counter"]
    calls: list[tuple[str, dict[str, np.ndarray]]] = [
        ("reset_counter", {}),
        ("incr_counter", {}),
        ("incr_counter_by", {"delta": np.array(2.5, np.float32)}),
        ("get_counter", {}),
    ]

    async def counted(kind: str) -> list[Any]:
        clients: dict[str, ModelClient] = {}
        for name, _ in calls:
            clients[name] = open_client(model.uris(served, name)[kind])
            metadata = await clients[name].metadata(TIMEOUT_S)
            assert metadata.signature.name == name
        answers = [await clients[name].predict(inputs, 1, TIMEOUT_S) for name, inputs in calls]
        for client in clients.values():
            await client.close()
        return [(answer.version, list(answer.outputs["output"])) for answer in answers]

    here = asyncio.run(counted("here"))
    assert here == [("123", [value]) for value in (0, 1, 3.5, 3.5)]
    assert asyncio.run(counted("grpc")) == here
    assert isinstance(ask(model.uris(served, "incr_counter")["rest"], {}, 1), RejectedError)


# ---------------------------------------------------------------------- the project's models


@pytest.mark.parametrize(
    "model", [Model("kinds", KINDS_DIR, 1), Model("digits", MODEL_DIR, 1)], ids=lambda model: str(model.name)
)
def test_our_models(served: Served, model: Model) -> None:
    """Signatures of every dtype, of ragged and fixed shapes, with defaults, of short answers, of scalars."""
    for name in signature_names(model):
        if name != "total":  # a scalar for several rows: REST has no row form for it, and says so itself
            agree(served, model, name)


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("positive", {"x": np.array([1, -1], np.float32)}),
        ("one_string", {"text": np.array([1, 2], np.float32)}),
        ("defaults", {"y": np.array([1, 2], np.float32)}),
        ("serving_default", {"a": np.ones((2, 2), np.float32)}),
        ("serving_default", {"a": np.ones((2, 3), np.float32), "b": np.array([1, 2, 3])}),
        ("lookup", {"text": np.array([b"a"], dtype=object), "more": np.ones(1, np.float32)}),
    ],
)
def test_what_is_refused(served: Served, signature: str, inputs: dict[str, np.ndarray]) -> None:
    """By the same error and the same text."""
    uris = Model("kinds", KINDS_DIR, 1).uris(served, signature)
    expected = ask(uris["grpc"], inputs, 2)
    assert isinstance(expected, RejectedError)
    assert_same(expected, ask(uris["here"], inputs, 2), signature)


def test_what_is_not_there(served: Served) -> None:
    model = Model("kinds", KINDS_DIR, 1)
    for uris in (model.uris(served, "none"), dataclasses.replace(model, version=7).uris(served, "fixed")):
        for uri in uris.values():
            assert isinstance(ask(uri, {}, 1), NotServedError), uri
    assert reason(ask_error(model.uris(served, "none")["grpc"])) == reason(ask_error(model.uris(served, "none")["here"]))


def ask_error(uri: str) -> ModelError:
    error = ask(uri, {}, 1)
    assert isinstance(error, ModelError)
    return error
