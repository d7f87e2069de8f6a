"""``--signature``: its file, what contradicts a server, and the clients of servers without metadata."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.checked import DTYPES
from transforms.clients.declared import EXAMPLE, NAME, merged, parse_signature, write_signature
from transforms.clients.wire.declared_outputs import check_declared
from transforms.errors import MalformedAnswerError, NotServedError, UnavailableError
from transforms.testing.multi_model_server.stub import TorchServeStub
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import KServeV1Stub, TfServingRestStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.types import METHOD_PREDICT, METHOD_REGRESS, Answer, ModelMetadata, Signature, TensorSpec

T = TypeVar("T")
TIMEOUT_S = 20.0
X, Y = {"x": TensorSpec("float32", (-1, 3))}, {"y": TensorSpec("float32", (-1, 3))}
DECLARED = Signature(NAME, METHOD_PREDICT, X, Y)

SHAPES = st.none() | st.lists(st.integers(-1, 9), max_size=4).map(tuple)
DTYPE = st.sampled_from(sorted(DTYPES))
INPUTS = st.dictionaries(st.text(), st.builds(TensorSpec, DTYPE, SHAPES, st.booleans()), min_size=1)
OUTPUTS = st.dictionaries(st.text(), st.builds(TensorSpec, DTYPE, SHAPES))


# ---- the file


@given(INPUTS, OUTPUTS)
def test_what_is_written_is_read_again(inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]) -> None:
    signature = Signature(NAME, METHOD_PREDICT, inputs, outputs)
    assert parse_signature(write_signature(signature)) == signature


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "is no JSON"),
        ([], "the file: must be an object with inputs, outputs"),
        ({}, "has no inputs"),
        ({"inputs": {}}, "has no inputs"),
        ({"inputs": {"x": {"dtype": "float32"}}, "input": {}}, "the file: has input; known are inputs, outputs"),
        ({"inputs": ["x"]}, "inputs: must be an object"),
        ({"inputs": {"x": "float32"}}, "inputs.x: must be an object with dtype, shape, optional"),
        ({"inputs": {"x": {"dtype": "float"}}}, "inputs.x.dtype: must be one of bfloat16, bool"),
        ({"inputs": {"x": {"dtype": ["bool"]}}}, "inputs.x.dtype: must be one of"),
        ({"inputs": {"x": {"dtype": "bool", "shape": 3}}}, "inputs.x.shape: must be a list of sizes"),
        ({"inputs": {"x": {"dtype": "bool", "shape": [True]}}}, "inputs.x.shape: must be a list of sizes"),
        ({"inputs": {"x": {"dtype": "bool", "shape": [-2]}}}, "inputs.x.shape: must be a list of sizes"),
        ({"inputs": {"x": {"dtype": "bool", "optional": 1}}}, "inputs.x.optional: must be true or false"),
        ({"inputs": {"x": {"dtype": "bool"}}, "outputs": {"y": {"optional": True}}}, "outputs.y: has optional"),
    ],
)
def test_a_file_that_is_no_signature_names_the_field(document: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_signature(document if isinstance(document, str) else json.dumps(document))
    assert problem in str(caught.value)


def test_the_example_of_the_messages_is_a_signature() -> None:
    assert list(parse_signature(EXAMPLE).inputs) == ["x"]


# ---- beside a published one

PUBLISHED = Signature(
    "other",
    METHOD_PREDICT,
    {"x": TensorSpec("float32", (-1, -1)), "bias": TensorSpec("float32", None, has_default=True)},
    {"y": TensorSpec("float32", None), "z": TensorSpec("int64", (-1,))},
)


def test_the_file_fills_in_what_the_server_leaves_open() -> None:
    found = merged(PUBLISHED, DECLARED, "m")
    assert found.name == "other"
    assert found.inputs == {"x": X["x"], "bias": PUBLISHED.inputs["bias"]}
    assert found.outputs == {"y": Y["y"], "z": PUBLISHED.outputs["z"]}
    assert merged(Signature("other", METHOD_PREDICT, X, {}), DECLARED, "m").outputs == Y


@pytest.mark.parametrize(
    ("inputs", "outputs", "difference"),
    [
        ({"x": TensorSpec("float64", (-1, 3))}, {}, r"input x is float32\[\?,\?\], in the file float64\[\?,3\]"),
        ({"x": TensorSpec("float32", (-1,))}, {}, r"input x is float32\[\?,\?\], in the file float32\[\?\]"),
        ({**X, "w": TensorSpec("bool", (-1,))}, {}, "input w is only in the file; the server has bias, x"),
        ({"bias": TensorSpec("float32", (-1,))}, {}, r"input x: float32\[\?,\?\] is not in the file"),
        (X, {"y": TensorSpec("int32", (-1,))}, r"output y is float32\[\?\], in the file int32"),
        (X, {"z": TensorSpec("int64", (2,))}, None),
        (X, {"w": TensorSpec("int64", (-1,))}, "output w is only in the file; the server has y, z"),
    ],
)
def test_what_contradicts_the_server_is_named(
    inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec], difference: str | None
) -> None:
    declared = Signature(NAME, METHOD_PREDICT, inputs, outputs)
    if difference is None:
        assert merged(PUBLISHED, declared, "m").outputs["z"] == TensorSpec("int64", (2,))
        return
    with pytest.raises(NotServedError, match=f"m: --signature contradicts what the server publishes: {difference}"):
        merged(PUBLISHED, declared, "m")


# ---- clients


def use(uri: str, declared: Signature | None, work: Callable[[ModelClient], Awaitable[T]], *outputs: str) -> T:
    async def run() -> T:
        async with open_client(uri, ClientOptions(signature=declared, outputs=outputs)) as client:
            return await work(client)

    return asyncio.run(run())


def metadata(uri: str, declared: Signature | None, *outputs: str) -> ModelMetadata:
    return use(uri, declared, lambda client: client.metadata(TIMEOUT_S), *outputs)


def predicted(uri: str, declared: Signature | None, inputs: dict[str, np.ndarray], rows: int) -> Answer:
    async def work(client: ModelClient) -> Answer:
        await client.metadata(TIMEOUT_S)
        return await client.predict(inputs, rows, TIMEOUT_S)

    return use(uri, declared, work)


@pytest.mark.parametrize(
    ("stub_class", "call"),
    [
        (TfServingGrpcStub, "GetModelMetadata"),
        (TfServingRestStub, "GET /v1/models/model/metadata"),
        (OipGrpcStub, "ModelMetadata"),
        (OipHttpStub, "GET /v2/models/model"),
    ],
)
def test_a_server_without_metadata(stub_class: type[StubServer], call: str) -> None:
    """Its model has the signature of the file; without one the error names the call, the flag and a file."""
    with stub_class() as stub:
        stub.describes = False
        with pytest.raises(NotServedError, match="--signature=FILE") as caught:
            metadata(stub.uri(), None)
        assert f"does not answer {call}. " in str(caught.value)
        assert "--guess_signature" in str(caught.value)
        assert EXAMPLE in str(caught.value)
        found = metadata(stub.uri(), DECLARED)
        assert (found.model, found.signature.inputs, found.signature.outputs) == ("model", X, Y)
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        answer = predicted(stub.uri(), DECLARED, {"x": x}, 2)
        np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x + 2)
        assert answer.outputs["y"].dtype == np.float32  # type: ignore[union-attr]


@pytest.mark.parametrize("stub_class", [TfServingGrpcStub, TfServingRestStub, OipGrpcStub, OipHttpStub])
def test_outputs_that_are_not_wanted_are_no_contradiction(stub_class: type[StubServer]) -> None:
    """``--outputs`` takes some of them, of the server's signature and of the file's."""
    outputs = {"y": Y["y"], "z": Y["y"]}
    with stub_class(StubModel.of(X, outputs, lambda inputs: {"y": inputs["x"], "z": inputs["x"]})) as stub:
        for stub.describes in (True, False):
            found = metadata(stub.uri(), Signature(NAME, METHOD_PREDICT, X, outputs), "y")
            assert list(found.signature.outputs) == ["y"]


@pytest.mark.parametrize("stub_class", [TfServingGrpcStub, TfServingRestStub, OipGrpcStub, OipHttpStub])
def test_a_server_with_metadata_is_believed(stub_class: type[StubServer]) -> None:
    """An unknown model stays unknown, one that is loading is waited for, and a file that contradicts is refused."""
    with stub_class() as stub:
        with pytest.raises(NotServedError) as caught:
            metadata(stub.uri(model="other"), DECLARED)
        assert "--signature" not in str(caught.value)
        wrong = Signature(NAME, METHOD_PREDICT, {"x": TensorSpec("int32", (-1, 3))}, Y)
        with pytest.raises(NotServedError, match="--signature contradicts"):
            metadata(stub.uri(), wrong)
        assert metadata(stub.uri(), DECLARED).signature.inputs == X
        stub.model.versions = {1: "LOADING"}
        with pytest.raises(UnavailableError, match="loading"):
            metadata(stub.uri(), DECLARED)


def test_a_status_without_metadata() -> None:
    """The version is told, and a model that is loading is waited for."""

    class Partly(TfServingRestStub):
        def _must_describe(self) -> None:
            """Only the metadata are missing."""

        def _metadata(self, served: int) -> dict[str, Any]:
            super()._must_describe()
            return super()._metadata(served)

    with Partly() as stub:
        stub.describes = False
        stub.model.versions = {3: "AVAILABLE", 4: "LOADING"}
        assert metadata(stub.uri(), DECLARED).version == "3"
        stub.model.versions = {4: "LOADING"}
        with pytest.raises(UnavailableError, match="loading"):
            metadata(stub.uri(), DECLARED)


TWO = Signature(
    NAME,
    METHOD_PREDICT,
    {"a": TensorSpec("float32", (-1,)), "text": TensorSpec("string", (-1,))},
    {"b": TensorSpec("float32", (-1,)), "said": TensorSpec("string", (-1,))},
)


def twice(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model of ``TWO``. The stub of KServe gives the rows as they come."""
    if "instances" in inputs:
        rows = inputs["instances"].tolist()
        inputs = {name: np.array([row[name] for row in rows], object) for name in ("a", "text")}
    return {"b": inputs["a"] * 2, "said": inputs["text"]}


@pytest.mark.parametrize("stub_class", [KServeV1Stub, VertexRestStub, TorchServeStub])
def test_a_protocol_that_has_no_metadata(stub_class: type[StubServer]) -> None:
    """The rows are sent as objects by name, and the outputs get the dtypes of the file."""
    model = StubModel(
        name="1" if stub_class is VertexRestStub else "model",
        signatures={NAME: (TWO, twice)},
    )
    rows = 1 if stub_class is TorchServeStub else 3
    with stub_class(model) as stub:
        found = metadata(stub.uri(), TWO, "b")
        assert found.signature.known
        assert list(found.signature.outputs) == ["b"]
        texts = np.array(["ä".encode(), b"plain", b"x"], object)[:rows]
        answer = predicted(stub.uri(), TWO, {"a": np.arange(3, dtype=np.float32)[:rows], "text": texts}, rows)
        assert answer.outputs["b"].dtype == np.float32  # type: ignore[union-attr]
        assert list(answer.outputs["b"]) == [0, 2, 4][:rows]
        assert list(answer.outputs["said"]) == list(texts)


def test_an_answer_that_contradicts_the_file_is_malformed() -> None:
    model = StubModel(signatures={NAME: (TWO, lambda i: {"b": ["x"], "said": ["x"]})})
    texts = np.array([b"x"], object)
    with KServeV1Stub(model) as stub, pytest.raises(MalformedAnswerError, match="model: output b: has values which are no"):
        predicted(stub.uri(), TWO, {"a": np.ones(1, np.float32), "text": texts}, 1)


@pytest.mark.parametrize("stub_class", [TfServingGrpcStub, TfServingRestStub, OipGrpcStub, OipHttpStub, KServeV1Stub])
@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        (
            {"y": Y["y"], "z": Y["y"]},
            r"the answer has no output [yz], which --signature declares \(float32\[\?,3\]\); it has ",
        ),
        (
            {"y": TensorSpec("float32", (-1, 4))},
            r"output y came as float32\[\?,3\], but --signature declares float32\[\?,4\]",
        ),
        ({"y": TensorSpec("float32", (-1,))}, r"output y came as float32\[\?,3\], but --signature declares float32\[\?\]"),
        (
            {"y": TensorSpec("int64", (-1, 3))},
            r"output y.* came as float.*, (but the signature|which does not fit the) declare",
        ),
        ({"y": TensorSpec("string", (-1, 3))}, r"output y.*, but the signature declares string"),
    ],
)
def test_an_answer_that_is_not_as_the_file_declares(
    stub_class: type[StubServer], outputs: dict[str, TensorSpec], problem: str
) -> None:
    """It was taken as it came."""
    x = np.full((2, 3), 0.25, np.float32)
    model = StubModel.of(X, Y, lambda i: {"y": np.full((2, 3), 2.25, np.float32)})
    with stub_class(model) as stub:
        stub.describes = False
        with pytest.raises(MalformedAnswerError, match=problem):
            predicted(stub.uri(), Signature(NAME, METHOD_PREDICT, X, outputs), {"x": x}, 2)


@pytest.mark.parametrize(
    ("came", "declared"),
    [
        ((2, 3), (-1, 3)),
        ((2, 3), (-1, -1)),
        ((2, 3), None),
        ((2,), (-1,)),
        ((2,), (-1, 1)),
        ((2, 1), (-1,)),
        ((2, 0), (-1, -1)),
    ],
)
def test_an_answer_that_is_as_the_file_declares(came: tuple[int, ...], declared: tuple[int, ...] | None) -> None:
    """One value is one value, bare or in a list; what is not declared may come, too."""
    signature = Signature(NAME, METHOD_PREDICT, X, {"y": TensorSpec("float32", declared)})
    check_declared({"y": np.zeros(came, np.float32), "z": [1, 2]}, signature, ["y"])


def test_a_value_for_the_whole_request_has_the_declared_shape() -> None:
    signature = Signature(NAME, METHOD_PREDICT, X, {"names": TensorSpec("string", (4,))})
    check_declared({"names": np.zeros((2, 4), object)}, signature, ["names"])
    with pytest.raises(MalformedAnswerError, match="names came as"):
        check_declared({"names": np.zeros((2, 5), object)}, signature, ["names"])


def test_an_output_that_may_be_left_out() -> None:
    """MLflow's ``required: false``: absent from all rows, or from some, which then come as objects."""
    outputs = {"score": TensorSpec("float64", (-1,)), "reason": TensorSpec("string", (-1,), has_default=True)}
    signature = Signature(NAME, METHOD_PREDICT, X, outputs)
    check_declared({"score": np.zeros(2)}, signature, ["score", "reason"])
    check_declared({"predictions": [{"score": 1.0}, {"score": 0.5, "reason": "r"}]}, signature, ["score", "reason"])
    with pytest.raises(MalformedAnswerError, match=r"no output score, which .*; it has reason"):
        check_declared({"predictions": [{"score": 1.0}, {"reason": "r"}]}, signature, ["score", "reason"])
    with pytest.raises(MalformedAnswerError, match="no output score"):
        check_declared({"predictions": [1.0, 2.0]}, signature, ["score", "reason"])


def test_classify_and_regress_answer_with_outputs_of_their_own() -> None:
    signature = Signature(NAME, METHOD_REGRESS, X, {"outputs": TensorSpec("float32", (-1, 1))})
    check_declared({"value": np.zeros(2, np.float32)}, signature, ["outputs"])


def test_the_sole_input_called_instances_has_no_name() -> None:
    """KServe's servers for scikit-learn take bare lists."""
    bare = Signature(NAME, METHOD_PREDICT, {"instances": TensorSpec("float32", (-1, 3))}, {})
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = StubModel(signatures={NAME: (bare, lambda i: {"y": 0.5 * np.array(i["instances"].tolist()) + 2})})
    with KServeV1Stub(model) as stub:
        assert [list(row) for row in predicted(stub.uri(), bare, {"instances": x}, 2).outputs["predictions"]] == (
            (0.5 * x + 2).tolist()
        )
