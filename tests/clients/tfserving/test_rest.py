"""What the contract leaves to REST: both forms, b64, NaN, error bodies, Retry-After, KServe V1, the version's refresh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.clients.asking import versions_until_flipped
from tests.clients.tfserving.test_grpc import EXAMPLES, ONE_ROW, STRING, TIMEOUT_S, classes, use, values
from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.clients.tfserving.json import predict_body, read_results
from transforms.clients.tfserving.rest import TfServingRestClient, parse
from transforms.clients.wire.json import dumps, loads
from transforms.clients.wire.json_outputs import read_outputs
from transforms.clients.wire.tensorflow import signature as signatures
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import KServeV1Stub, TfServingRestStub
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, METHOD_REGRESS, Signature, TensorSpec

TESTDATA = Path(__file__).resolve().parents[4] / "shared" / "testdata" / "tensorflow_serving"


def signature(inputs: dict[str, str], outputs: dict[str, str]) -> Signature:
    return Signature(
        "serving_default",
        METHOD_PREDICT,
        {name: TensorSpec(dtype, (-1,)) for name, dtype in inputs.items()},
        {name: TensorSpec(dtype, (-1,)) for name, dtype in outputs.items()},
    )


# ---- bodies


def test_request_bodies() -> None:
    x = np.array([[1, 2.5]], np.float32)
    raw = np.array([b"\xff"], dtype=object)
    one, two = signature({"x": "float32"}, {}), signature({"x": "float32", "s": "string"}, {})
    assert predict_body({"x": x}, one, "f") == b'{"signature_name":"f","inputs":[[1.0,2.5]]}'
    assert json.loads(predict_body({"x": x, "s": raw}, two, None)) == {"inputs": {"x": [[1, 2.5]], "s": [{"b64": "/w=="}]}}
    # one of two inputs, the other left to its default: named, or the server could not tell which
    assert json.loads(predict_body({"x": x}, two, None)) == {"inputs": {"x": [[1, 2.5]]}}
    assert json.loads(predict_body({}, signature({}, {}), None)) == {"inputs": {}}
    assert predict_body({"x": np.array(3, np.int64)}, one, None) == b'{"inputs":3}'


def test_instances_go_out_as_they_came_when_no_signature_is_known() -> None:
    instances = np.empty(3, dtype=object)
    instances[:] = [{"a": [1, None]}, [1.5], "text"]
    assert json.loads(predict_body({"instances": instances}, None, None)) == {"instances": [{"a": [1, None]}, [1.5], "text"]}
    named = {"a": np.array([1, 2]), "b": np.array([b"x", b"y"], dtype=object)}
    rows = [{"a": 1, "b": {"b64": "eA=="}}, {"a": 2, "b": {"b64": "eQ=="}}]
    assert json.loads(predict_body(named, None, None)) == {"instances": rows}


def test_nan_and_infinities_stand_bare_both_ways() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1])
    assert dumps({"inputs": x}) == b'{"inputs": [NaN, Infinity, -Infinity, 1.0]}'
    instances = np.empty(1, dtype=object)
    instances[0] = {"a": float("nan"), "b": None}
    assert predict_body({"instances": instances}, None, None) == b'{"instances": [{"a": NaN, "b": null}]}'
    outputs = read_outputs(loads(b'{"outputs": [NaN, -Infinity, 9e+06, 3.0]}'), signature({}, {"y": "float32"}))
    np.testing.assert_array_equal(outputs["y"], np.array([np.nan, -np.inf, 9e6, 3], np.float32))


@pytest.mark.parametrize("body", [b"", b"{", b'{"outputs": [1,]}', b"[" * 100_000, b"\xff", b"<html>"])
def test_bodies_that_are_no_json(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(body)


@pytest.mark.parametrize(
    ("body", "outputs", "expected"),
    [
        (b'{"outputs": [1, 2]}', {"y": "float32"}, {"y": [1, 2]}),
        (b'{"outputs": {"y": [1], "z": ["a"]}}', {"y": "int64", "z": "string"}, {"y": [1], "z": [b"a"]}),
        (b'{"outputs": {"y": [1]}}', {"y": "int64"}, {"y": [1]}),
        (b'{"predictions": [1, 2]}', {"y": "float32"}, {"y": [1, 2]}),
        (b'{"predictions": [{"z": "b", "y": 1}, {"y": 2, "z": "c"}]}', {"y": "int64", "z": "string"},
         {"y": [1, 2], "z": [b"b", b"c"]}),
        (b'{"predictions": [{"b64": "/w=="}, {"b64": ""}]}', {"y_bytes": "string"}, {"y_bytes": [b"\xff", b""]}),
        (b'{"outputs": {"b64": "/w=="}}', {"y_bytes": "string"}, {"y_bytes": b"\xff"}),
        (b'{"outputs": ["\xff\xe4", "ok"]}', {"s": "string"}, {"s": [b"\xff\xe4", b"ok"]}),
        (b'{"predictions": []}', {"s": "string"}, {"s": []}),
        (b'{"outputs": [3.0, 9e+06]}', {"y": "int64"}, {"y": [3, 9000000]}),
        (b'{"outputs": [18446744073709551615, 1]}', {"y": "uint64"}, {"y": [2**64 - 1, 1]}),
    ],
)  # fmt: skip
def test_answers_in_either_form(body: bytes, outputs: dict[str, str], expected: Any) -> None:
    read = read_outputs(loads(body), signature({}, outputs))
    assert {name: np.asarray(v).tolist() for name, v in read.items()} == expected
    for name, array in read.items():
        assert isinstance(array, np.ndarray)
        assert array.dtype == (object if outputs[name] == "string" else outputs[name])


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        (b"[1]", "float32"),
        (b"{}", "float32"),
        (b'{"predictions": 1}', "float32"),
        (b'{"outputs": [[1], [1, 2]]}', "float32"),
        (b'{"outputs": ["1.5"]}', "float32"),
        (b'{"outputs": [null]}', "float32"),
        (b'{"outputs": [true]}', "float32"),
        (b'{"outputs": [1.5]}', "int64"),
        (b'{"outputs": [300]}', "uint8"),
        (b'{"outputs": [-1]}', "uint64"),
        (b'{"outputs": [18446744073709551615, -1]}', "uint64"),
        (b'{"outputs": [1]}', "bool"),
        (b'{"outputs": [1]}', "string"),
        (b'{"outputs": [{"b64": "?"}]}', "string"),
        (b'{"outputs": [["a"], "b"]}', "string"),
        (rb'{"outputs": ["a\ud800"]}', "string"),
        (b'{"outputs": [1]}', "resource"),
    ],
)
def test_answers_that_do_not_fit_the_signature(body: bytes, dtype: str) -> None:
    with pytest.raises(MalformedAnswerError):
        read_outputs(loads(body), signature({}, {"y": dtype}))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"results": 1},
        {"results": [1]},
        {"results": [[["a"]]]},
        {"results": [[["a", 10**400]]]},
        {"results": [[["a", "b"]]]},
    ],
)
def test_results_of_another_form(document: Any) -> None:
    with pytest.raises(MalformedAnswerError):
        read_results(document, METHOD_CLASSIFY)


def test_published_metadata_is_read() -> None:
    """The metadata that TensorFlow Serving's own tests expect, where the development machine has it."""
    path = TESTDATA / "half_plus_two_model_metadata.json"
    if not path.exists():
        pytest.skip(f"no {path}")
    read = signatures.from_json(json.loads(path.read_text())["metadata"]["signature_def"])
    assert read["serving_default"].inputs == {"x": TensorSpec("float32", (-1, 1))}
    assert read["regress_x2_to_y3"].method == METHOD_REGRESS


# ---- Classify and Regress


def test_classify_and_regress() -> None:
    with TfServingRestStub(StubModel.of(STRING, {}, classes, METHOD_CLASSIFY)) as stub:
        answer = use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S))
        assert answer.outputs["classes"] == [["0.0"], ["1.0", "1.1"], ["2.0", "2.1", "2.2"]]
        assert answer.outputs["scores"] == [[0], [1, 2], [2, 3, 4]]
        stub.model = StubModel.of(STRING, {}, values, METHOD_REGRESS)
        assert use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S)).outputs["value"].tolist() == [0, 2, 4]
        stub.faults.answer_next(1, "short")
        with pytest.raises(MalformedAnswerError, match="2 rows for a request of 3"):
            use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S))
        broken = {"examples": np.array([b"\xff no example"], dtype=object)}
        with pytest.raises(RejectedError, match=r"not a serialized tf\.Example"):
            use(stub.uri(), lambda client: client.predict(broken, 1, TIMEOUT_S))


# ---- KServe V1


def doubled(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"y": [instance * 2 for instance in inputs["instances"]]}


def instances(*items: Any) -> dict[str, np.ndarray]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return {"instances": array}


def test_kserve_v1() -> None:
    """It publishes no signature: instances as they are, predictions as they come."""
    model = StubModel.of({}, {}, doubled)
    with KServeV1Stub(model) as stub:

        async def metadata(client: Any) -> Any:
            return await client.metadata(TIMEOUT_S)

        assert not use(stub.uri(), metadata).signature.known
        request = instances([1, 2], "ab")
        answer = use(stub.uri(), lambda client: client.predict(request, 2, TIMEOUT_S))
        assert (answer.outputs, answer.version) == ({"predictions": [[1, 2, 1, 2], "abab"]}, "")
        stub.model = StubModel.of({}, {}, lambda i: {"a": [1, 2], "b": ["x", "y"]})
        answer = use(stub.uri(), lambda client: client.predict(instances(0, 0), 2, TIMEOUT_S))
        assert answer.outputs == {"a": [1, 2], "b": ["x", "y"]}
        with pytest.raises(MalformedAnswerError, match="2 rows for a request of 1"):
            use(stub.uri(), lambda client: client.predict(instances(0), 1, TIMEOUT_S))
        stub.ready = False
        with pytest.raises(UnavailableError, match="not ready"):
            use(stub.uri(), metadata)
        with pytest.raises(NotServedError):
            use(stub.uri(model="other"), metadata)


# ---- odd servers

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error_of(handle: Handle, work: str = "predict", now: float = 0.0, answer: Any = None) -> ModelError:
    """What a client raises from a server that answers every request by ``handle``."""

    async def run() -> ModelError:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = TfServingRestClient(parse(f"http://127.0.0.1:{port}/v1/models/m"), ClientOptions(), now=lambda: now)
        try:
            with pytest.raises(ModelError) as caught:
                await (client.metadata(TIMEOUT_S) if work == "metadata" else client.predict(ONE_ROW, 1, TIMEOUT_S))
            return caught.value
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(run())


def replying(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return handle


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, NotServedError),
        (400, RejectedError),
        (401, NotServedError),
        (403, NotServedError),
        (404, NotServedError),
        (405, NotServedError),
        (408, OverloadedError),
        (413, RequestTooLargeError),
        (422, RejectedError),
        (425, OverloadedError),
        (429, OverloadedError),
        (499, TransientError),
        (500, TransientError),
        (501, NotServedError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, OverloadedError),
    ],
)
def test_http_statuses(status: int, error: type[ModelError]) -> None:
    caught = error_of(replying(status, b'{"error": "the reason"}'))
    assert type(caught) is error
    assert f"HTTP {status}: the reason" in str(caught)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "no error text"),
        (b"<html>\nnot found</html>", "<html> not found</html>"),
        (b'{"error": {"code": 400, "message": "of Google\'s form"}}', "of Google's form"),
        (b'{"detail": "of FastAPI\'s form"}', "HTTP 400: of FastAPI's form"),
        (b'{"error": "ValueError : could not convert string to float: \'secret\'"}', "to float: (left out)"),
        (b'{"error": "ValueError : invalid literal for int() with base 10: \'secret\'"}', "base 10: (left out)"),
        (b'["odd"]', "odd"),
        (b"\xff\xfe", "HTTP 400"),
        (b'{"error": "JSON Value: \\"secret\\" Type: String is not of expected type: float"}', "(left out) Type: String"),
    ],
)
def test_error_bodies(body: bytes, text: str) -> None:
    caught = error_of(replying(400, body))
    assert text in str(caught)
    assert "secret" not in str(caught)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("-1", None),
        ("soon", None),
    ],
)
def test_retry_after(header: str, expected: float | None) -> None:
    caught = error_of(replying(429, b"", {"Retry-After": header}), now=60.0)
    assert isinstance(caught, TransientError)
    assert caught.retry_after_s == expected


def test_what_a_kserve_model_raised_is_told_apart_from_a_server_in_trouble() -> None:
    assert type(error_of(replying(500, b'{"error": "ValueError : a bad row"}'))) is ModelFailedError
    assert type(error_of(replying(500, b'{"error": "Internal: a bad day"}'))) is TransientError


def test_an_error_in_an_answer_of_200_is_the_batchs() -> None:
    caught = error_of(replying(200, b'{"error": "bad instance"}'))
    assert isinstance(caught, RejectedError)
    assert "bad instance" in str(caught)


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b'{"metadata": {}}', b'{"model_spec": [], "metadata": 3}'])
def test_metadata_that_is_none(body: bytes) -> None:
    assert isinstance(error_of(replying(200, body), "metadata"), NotServedError)


@pytest.mark.parametrize(("status", "error"), [(401, NotServedError), (404, NotServedError), (500, UnavailableError)])
def test_metadata_refused(status: int, error: type[ModelError]) -> None:
    assert type(error_of(replying(status), "metadata")) is error


def test_a_body_cut_short_is_unavailable() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"outputs": [')
        assert request.transport is not None
        request.transport.abort()
        return response

    assert isinstance(error_of(cut), UnavailableError)


def test_the_grpc_port_is_told_apart() -> None:
    async def run(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises((NotServedError, UnavailableError)):
                await client.metadata(TIMEOUT_S)

    with TfServingGrpcStub() as stub:
        asyncio.run(run(f"http://{stub.address}/v1/models/model"))


def test_an_input_that_rest_does_not_take_is_refused_before_anything_is_sent() -> None:
    spec = TensorSpec("float16", (-1,))
    with TfServingRestStub(StubModel.of({"x": spec}, {"y": spec}, dict)) as stub:
        with pytest.raises(NotServedError, match=r"input x is float16.*use grpc://"):
            use(stub.uri(), lambda client: client.predict(ONE_ROW, 1, TIMEOUT_S))
        assert stub.faults.requests == 0


def test_the_version_is_read_again_only_after_a_while() -> None:
    """Every few seconds, in the background: not with each request, and never in front of one."""
    with TfServingRestStub() as stub:
        versions = versions_until_flipped(
            stub, lambda clock: TfServingRestClient(parse(stub.uri()), ClientOptions(), version_refresh_s=5, clock=clock)
        )
    assert versions[:2] == ["1", "1"]
    assert versions[-1] == "2"
