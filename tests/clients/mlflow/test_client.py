"""The client of MLflow's scoring server: its URI, what it sends, and what it makes of answers and errors."""

from __future__ import annotations

import asyncio
import dataclasses
import http.server
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from tests.http_server import answering
from transforms.clients import check_uri, open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.mlflow.answers import read_outputs
from transforms.clients.mlflow.errors import from_answer, without_rows
from transforms.clients.mlflow.requests import form_of, request_document
from transforms.clients.mlflow.uri import parse
from transforms.clients.mlmodel import MlflowSignature
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json_rows import as_instances
from transforms.errors import (
    ConfigError,
    MalformedAnswerError,
    ModelFailedError,
    NotServedError,
    RejectedError,
    UnavailableError,
)
from transforms.testing.mlflow.stub import MlflowStub
from transforms.testing.stub_model import StubModel
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

T = TypeVar("T")
TIMEOUT_S = 20.0
NUMBER, VECTOR, TEXT = TensorSpec("float64", (-1,)), TensorSpec("float32", (-1, 2)), TensorSpec("string", (-1,))


@pytest.fixture
def stub() -> Iterator[MlflowStub]:
    with MlflowStub() as stub:
        yield stub


def use(uri: str, work: Callable[[ModelClient], Awaitable[T]], signature: Signature | None = None) -> T:
    async def run() -> T:
        async with open_client(uri, ClientOptions(signature=signature)) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def there(uri: str, signature: Signature | None = None) -> bool:
    async def work(_: ModelClient) -> bool:
        return True

    return use(uri, work, signature)


def of(inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec] | None = None, **more: Any) -> MlflowSignature:
    return MlflowSignature("", METHOD_PREDICT, inputs, outputs or {}, **more)


def served(stub: MlflowStub) -> Signature:
    return next(iter(stub.model.signatures.values()))[0]


# ---- the URI


@pytest.mark.parametrize(
    ("uri", "url", "health", "name", "form"),
    [
        ("mlflow+http://h:5000", "http://h:5000/invocations", "http://h:5000/ping", "h", None),
        ("mlflow+http://h/a/b/?form=inputs", "http://h/a/b/invocations", "http://h/a/b/ping", "b", "inputs"),
        ("mlflow+http://h:5000/invocations", "http://h:5000/invocations", "http://h:5000/ping", "h", None),
        (
            "mlflow+https://w/serving-endpoints/fraud/invocations",
            "https://w/serving-endpoints/fraud/invocations",
            "https://w/serving-endpoints/fraud/ping",
            "fraud",
            None,
        ),
        ("mlflow+https://e.westeurope.inference.ml.azure.com/score", "https://e.westeurope.inference.ml.azure.com/score",
         "https://e.westeurope.inference.ml.azure.com/", "e.westeurope.inference.ml.azure.com", "input_data"),
    ],
)  # fmt: skip
def test_uris(uri: str, url: str, health: str, name: str, form: str | None) -> None:
    address = parse(uri)
    assert (str(address.url), str(address.health_url), address.name, address.form) == (url, health, name, form)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("mlflow+http:///p", "the host is missing"),
        ("mlflow+http://u:p@h/p", "must not hold a user name or password"),
        ("mlflow+http://h?form=csv", "form must be one of dataframe_split, dataframe_records"),
        ("mlflow+http://h?form=inputs&form=inputs", "form must be one of"),
        ("mlflow+http://h?version=2", "has no parameter version"),
        ("mlflow+http://h/score?form=inputs", "which takes form=input_data"),
    ],
)
def test_uris_that_can_not_be_used(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert problem in str(caught.value)


# ---- before the start


def test_without_a_signature_the_error_names_the_cures(stub: MlflowStub) -> None:
    with pytest.raises(NotServedError) as caught:
        there(stub.uri())
    for cure in ("--signature=MLmodel", "--guess_signature", "?form=dataframe_records"):
        assert cure in str(caught.value)
    assert there(f"{stub.uri()}?form=dataframe_records")


def test_a_server_without_ping(stub: MlflowStub) -> None:
    """Databricks has none: the methods of the endpoint are asked for. A path that is not there is told."""
    stub.has_ping = False
    assert there(stub.uri(), served(stub))
    with pytest.raises(NotServedError, match="it has no path /other/invocations"):
        there(stub.uri(model="other"), served(stub))


def test_mlflow_1_is_told(stub: MlflowStub) -> None:
    stub.mlflow_version = "1.30.0"
    with pytest.raises(NotServedError, match=r"is MLflow 1\.30\.0, whose requests have other forms; serve the model by"):
        there(stub.uri(), served(stub))


def test_a_model_that_is_loading_is_waited_for(stub: MlflowStub) -> None:
    stub.model.versions = {1: "LOADING"}
    with pytest.raises(UnavailableError, match="still loading"):
        there(stub.uri(), served(stub))


# ---- requests


@pytest.mark.parametrize(
    ("inputs", "form"),
    [
        ({"a": NUMBER, "b": TEXT}, "dataframe_split"),
        ({"a": TensorSpec("float64", None)}, "dataframe_split"),
        ({"a": NUMBER, "b": VECTOR}, "inputs"),
        ({"instances": VECTOR}, "instances"),
    ],
)
def test_the_form_of_a_file_of_ours(inputs: dict[str, TensorSpec], form: str) -> None:
    """It does not say whether inputs are columns: they are if each has one value a row."""
    assert form_of(Signature("", METHOD_PREDICT, inputs, {})) == form


TABLE = {"b": np.array([1.5, np.nan]), "a": np.array(["ä".encode(), b"x"], object)}
TABLE_OF = of({"b": NUMBER, "a": TEXT})
TENSORS = {"a": np.ones((2, 2), np.float32), "b": np.array([7, 8])}
TENSORS_OF = of({"a": VECTOR, "b": TensorSpec("int64", (-1,))}, form="inputs")
BARE = {"instances": np.ones((2, 2), np.float32)}
BARE_OF = of({"instances": VECTOR}, form="instances")
RECORDS = as_instances([{"a": 1}, {"a": 2, "b": "x"}])


@pytest.mark.parametrize(
    ("form", "inputs", "signature", "document"),
    [
        ("dataframe_split", {"a": TABLE["a"], "b": np.array([1, 2])}, TABLE_OF,
         {"dataframe_split": {"columns": ["b", "a"], "data": [[1, "ä"], [2, "x"]]}}),
        ("dataframe_records", TENSORS, TENSORS_OF, {"dataframe_records": [{"a": [1, 1], "b": 7}, {"a": [1, 1], "b": 8}]}),
        ("inputs", TENSORS, TENSORS_OF, {"inputs": {"a": [[1, 1], [1, 1]], "b": [7, 8]}}),
        ("inputs", BARE, BARE_OF, {"inputs": [[1, 1], [1, 1]]}),
        ("inputs", {"x": np.array(4.0)}, of({"x": TensorSpec("float64", ())}), {"inputs": {"x": 4}}),
        ("instances", BARE, BARE_OF, {"instances": [[1, 1], [1, 1]]}),
        ("instances", TENSORS, TENSORS_OF, {"instances": [{"a": [1, 1], "b": 7}, {"a": [1, 1], "b": 8}]}),
        ("input_data", TENSORS, TENSORS_OF, {"input_data": {"a": [[1, 1], [1, 1]], "b": [7, 8]}}),
        ("input_data", BARE, BARE_OF, {"input_data": [[1, 1], [1, 1]]}),
        ("input_data", {"b": np.array([1, 2])}, TABLE_OF,
         {"input_data": {"columns": ["b"], "data": [[1], [2]], "index": [0, 1]}}),
        ("dataframe_records", RECORDS, None, {"dataframe_records": [{"a": 1}, {"a": 2, "b": "x"}]}),
        ("dataframe_split", RECORDS, None, {"dataframe_split": {"columns": ["a", "b"], "data": [[1, None], [2, "x"]]}}),
        ("input_data", RECORDS, None,
         {"input_data": {"columns": ["a", "b"], "data": [[1, None], [2, "x"]], "index": [0, 1]}}),
        ("inputs", RECORDS, None, {"inputs": [{"a": 1}, {"a": 2, "b": "x"}]}),
        ("input_data", as_instances([[1], [2]]), None, {"input_data": [[1], [2]]}),
    ],
)  # fmt: skip
def test_what_is_sent(form: str, inputs: dict[str, np.ndarray], signature: Signature | None, document: object) -> None:
    assert request_document(form, inputs, signature) == document


def test_bytes_travel_as_the_signature_says() -> None:
    """A column of bytes is base64; elsewhere bytes that are no text have no form."""
    blob = {"a": np.array([b"\0\xff"], object)}
    binary = of({"a": TEXT}, binary_inputs=frozenset("a"))
    assert request_document("dataframe_split", blob, binary)["dataframe_split"]["data"] == [["AP8="]]
    with pytest.raises(ValueError, match="input a: has bytes that are no UTF-8 text"):
        request_document("dataframe_split", blob, of({"a": TEXT}))


def test_a_record_without_a_form_is_rejected_before_it_is_sent(stub: MlflowStub) -> None:
    async def work(client: ModelClient) -> None:
        with pytest.raises(RejectedError, match="form=dataframe_records takes records that are objects"):
            await client.predict(as_instances([[1]]), 1, TIMEOUT_S)

    use(f"{stub.uri()}?form=dataframe_records", work)
    assert stub.faults.requests == 0


# ---- answers


@pytest.mark.parametrize(
    ("predictions", "outputs"),
    [
        ([1.5, 2], {"predictions": [1.5, 2]}),
        ([[1, 2], [3, 4]], {"predictions": [[1, 2], [3, 4]]}),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": [1, 2], "b": ["x", "y"]}),
        ({"a": [1, 2], "b": 3}, {"a": [1, 2], "b": 3}),
        ([{"0": 1}, {"0": 2}], {"predictions": [1, 2]}),
        ("x", {"predictions": "x"}),
        ([], {"predictions": []}),
    ],
)
def test_predictions(predictions: Any, outputs: dict[str, Any]) -> None:
    """Scalars, lists, objects, an object of lists, a pandas series without a name, and one value for all."""
    found = read_outputs(predictions, None)
    assert {name: np.asarray(values).tolist() for name, values in found.items()} == outputs


def test_declared_outputs_have_their_dtypes() -> None:
    declared = of({"x": NUMBER}, {"n": TensorSpec("int64", (-1,)), "image": TEXT}, binary_outputs=frozenset({"image"}))
    found = read_outputs([{"n": 1, "image": "AP8=\n", "more": {"a": 1}}], declared)
    assert isinstance(found["n"], np.ndarray)
    assert found["n"].dtype == np.int64
    assert (list(found["image"]), list(found["more"])) == ([b"\0\xff"], [{"a": 1}])
    for wrong in ([{"n": 1.5, "image": ""}], [{"n": 1, "image": "*"}], [{"n": 1, "image": 7}]):
        with pytest.raises(MalformedAnswerError):
            read_outputs(wrong, declared)
    sole = of({"x": NUMBER}, {"score": NUMBER})
    assert list(read_outputs([{"0": 1.5}], sole)) == list(read_outputs([1.5], sole)) == ["score"]


def test_an_answer_for_the_rows(stub: MlflowStub) -> None:
    """Through the client, with two outputs of the model."""
    spec = {"x": NUMBER}
    stub.model = StubModel.of(spec, {"a": NUMBER, "b": NUMBER}, lambda inputs: {"a": inputs["x"], "b": -inputs["x"]})
    answer = use(stub.uri(), lambda client: client.predict({"x": np.array([1.0, 2.0])}, 2, TIMEOUT_S), served(stub))
    assert {name: list(values) for name, values in answer.outputs.items()} == {"a": [1, 2], "b": [-1, -2]}
    assert (answer.version, stub.seen) == ("", {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}})


@pytest.mark.parametrize("body", [b"[]", b'{"prediction": [1]}', b"{", b'{"predictions": 7}'])
def test_an_answer_of_another_form(body: bytes) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    async def work(client: ModelClient) -> None:
        with pytest.raises(MalformedAnswerError, match=r"model 127\.0\.0\.1 at 127\.0\.0\.1:"):
            await client.predict(as_instances([[1], [2]]), 2, TIMEOUT_S)

    with answering(answer) as url:
        use(f"mlflow+{url}?form=instances", work)


# ---- errors

FRAME = "   amount   age\n0  secret\nError: 12  42"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (f"Failed to predict data '{FRAME}'. \nError: Failed to enforce schema of data '{FRAME}' with schema "
         "'['amount': double (required)]'. Error: Model is missing inputs ['age'].",
         "Failed to predict data: Model is missing inputs ['age']."),
        ("Failed to enforce schema of data `secret` with dtype `long`",
         "Failed to enforce schema of data with dtype `long`"),
        ("Invalid input. Failed to convert data `['secret', 1]` to type `long` defined in the model signature.",
         "Invalid input. Failed to convert data to type `long` defined in the model signature."),
        ("Invalid input. Ensure that input is a valid JSON formatted string. Error: 'JSONDecodeError('Expecting secret')'\n"
         "Input: \nb'secret'\n",
         "Invalid input. Ensure that input is a valid JSON formatted string. Error: JSONDecodeError"),
        ("Failed to convert column when to type 'datetime64[ns]'. Error: 'DateParseError('Unknown format: secret')'",
         "Failed to convert column when to type 'datetime64[ns]'. Error: DateParseError"),
        ("Failed to convert column a to type 'float64'. Error: 'ValueError(\"could not convert string: 'secret'\")'",
         "Failed to convert column a to type 'float64'. Error: ValueError"),
        ("The model is busy", "The model is busy"),
    ],
)  # fmt: skip
def test_messages_lose_the_rows(message: str, text: str) -> None:
    """The texts are those of MLflow 3.17."""
    assert without_rows(message) == text


def answer(status: int, body: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(
        status, body, None, "reason", "application/json", {k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_a_stack_trace_is_cut_to_the_exception() -> None:
    trace = r"Traceback (most recent call last):\n  File x, line 1\nValueError: Input X contains secret\n"
    body = (
        b'{"error_code": "BAD_REQUEST", "message": "Encountered an unexpected error.", "stack_trace": "%b"}' % trace.encode()
    )
    error = from_answer("model m at h:1", answer(400, body))
    assert str(error) == "model m at h:1: HTTP 400: Encountered an unexpected error. (ValueError)"
    assert type(error) is RejectedError


@pytest.mark.parametrize(
    ("status", "inner", "kind"),
    [
        (424, "", ModelFailedError),
        (424, "400", RejectedError),
        (424, "503", UnavailableError),
        (424, "200", ModelFailedError),
        (424, "²", ModelFailedError),
        (424, "9" * 5000, ModelFailedError),
        (400, "503", RejectedError),
    ],
)
def test_the_status_behind_azures_gateway(status: int, inner: str, kind: type[Exception]) -> None:
    error = from_answer("m", answer(status, b"", **{"ms_azureml_model_error_statuscode": inner}))
    assert type(error) is kind


def test_the_model_answers_another_error(stub: MlflowStub) -> None:
    """No stack trace of the server in the message; the next request is answered."""
    x = np.ones((1, 2), np.float32)
    stub.faults.fail_next(1, "INVALID_ARGUMENT", f"Failed to predict data '{FRAME}'. \nError: wrong shape")

    async def work(client: ModelClient) -> None:
        with pytest.raises(RejectedError, match=r"HTTP 400: Failed to predict data: wrong shape$"):
            await client.predict({"x": x}, 1, TIMEOUT_S)
        await client.predict({"x": x}, 1, TIMEOUT_S)

    use(stub.uri(), work, dataclasses.replace(served(stub)))
