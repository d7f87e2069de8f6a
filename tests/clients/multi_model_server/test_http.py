"""What the contract leaves to this protocol: bodies over the wire, both servers' management, error bodies, poison."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from aiohttp import web

from tests.clients.asking import use, versions_until_flipped
from tests.clients.tfserving.test_rest import instances
from tests.dispatching import Highest, Time, by_row, run, x_of
from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.multi_model_server.http import MmsClient, parse
from transforms.decode.decoder import Decoder
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
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.testing.multi_model_server.stub import MultiModelServerStub, TorchServeStub
from transforms.testing.stub_model import StubModel
from transforms.types import KafkaRecord, ModelMetadata, Signature, TensorSpec

T = TypeVar("T")
TIMEOUT_S = 20.0
ONE_ROW = {"x": np.ones((1, 3), np.float32)}


def metadata_of(uri: str) -> ModelMetadata:
    async def read() -> ModelMetadata:
        async with open_client(uri) as client:
            return await client.metadata(TIMEOUT_S)

    return asyncio.run(read())


# ---- bodies over the wire


def echo() -> StubModel:
    """Answers what came, without a name."""
    return StubModel.of({}, {}, lambda inputs: {"predictions": next(iter(inputs.values()))})


@pytest.mark.parametrize(
    ("query", "sent", "content_type", "answered"),
    [
        ("", [1, {"a": None}], "application/json", [1, {"a": None}]),
        ("", {"b64": "/wA="}, "application/octet-stream", b"\xff\x00"),
        ("?body=json", {"b64": "/wA="}, "application/json", {"b64": "/wA="}),
        ("?body=multipart", [1, 2], "multipart/form-data", [1, 2]),
        ("?body=multipart", {"b64": "/wA="}, "multipart/form-data", b"\xff\x00"),
        ("?body=multipart", {"x": [1.5]}, "multipart/form-data", [1.5]),
    ],
)
def test_bodies(query: str, sent: Any, content_type: str, answered: Any) -> None:
    model = echo() if query != "?body=json" else StubModel.of({}, {}, lambda inputs: {"predictions": [dict_of(inputs)]})
    with TorchServeStub(model) as stub:
        answer = use(stub.uri() + query, lambda client: client.predict(instances(sent), 1, TIMEOUT_S))
        assert (answer.outputs, answer.version) == ({"predictions": [answered]}, "1")
        assert stub.content_types == [content_type]


def dict_of(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: values[0] for name, values in inputs.items()}


def test_body_bytes_makes_a_signature_of_one_input_of_bytes() -> None:
    """So records are read as bytes without being told, and go through no base64."""
    with TorchServeStub(echo()) as stub:
        signature = metadata_of(stub.uri() + "?body=bytes").signature
        assert signature.known
        [segment] = Decoder(signature).decode([KafkaRecord("t", 0, 0, 0, None, b"\xff\xd8 image", [])]).segments
        answer = use(stub.uri() + "?body=bytes", lambda client: client.predict(segment.tensors, 1, TIMEOUT_S))
        assert answer.outputs == {"predictions": [b"\xff\xd8 image"]}
        assert stub.content_types == ["application/octet-stream"]


def test_without_it_the_signature_is_not_known_and_records_are_json() -> None:
    with TorchServeStub(echo()) as stub:
        metadata = metadata_of(stub.uri())
    assert metadata.max_rows == 1
    assert metadata.signature == Signature("", "tensorflow/serving/predict", {}, {}, known=False)
    assert Decoder(metadata.signature).input_format == "json"


def test_no_record_reaches_a_worker_as_json_that_it_can_not_parse() -> None:
    """It would end multi-model-server's worker, and with it the requests of others."""
    values = [
        b"{bad",
        b"[1,",
        b'"\\ud800"',
        b"[1e999]",
        b"[" * 2000 + b"]" * 2000,
        b"\xff",
        b"NaN",
        b"[1]",
        b"123456789012345678901",
    ]
    records = [KafkaRecord("t", 0, offset, 0, None, value, []) for offset, value in enumerate(values)]
    with MultiModelServerStub(echo()) as stub:
        decoder = Decoder(metadata_of(stub.uri()).signature)
        documents = [row for segment in decoder.decode(records).segments for row in segment.tensors["instances"]]

        async def work(client: ModelClient) -> None:
            for document in documents:
                await client.predict(instances(document), 1, TIMEOUT_S)

        use(stub.uri(), work)
        assert stub.faults.requests == len(documents) == 3  # NaN, [1] and the integer as a float
        assert stub.workers_died == 0


@pytest.mark.parametrize("document", ["\ud800", object()])
def test_what_has_no_json_form_is_rejected_and_never_sent(document: Any) -> None:
    with TorchServeStub(echo()) as stub:
        with pytest.raises(RejectedError, match="can't be written"):
            use(stub.uri(), lambda client: client.predict(instances(document), 1, TIMEOUT_S))
        assert stub.faults.requests == 0


# ---- management


def test_multi_model_server_has_one_version_whatever_is_asked() -> None:
    """Its inference API answers for a version that is not there: only the management API tells."""
    with MultiModelServerStub() as stub:
        assert metadata_of(stub.uri()).version == "1"
        assert metadata_of(stub.uri(version=1)).version == "1"
        with pytest.raises(NotServedError, match=r"no such version; there are 1 \(READY\)"):
            metadata_of(stub.uri(version=7))
        with pytest.raises(NotServedError, match="Model not found: other"):
            metadata_of(stub.uri(model="other"))


@pytest.mark.parametrize("stub_class", [TorchServeStub, MultiModelServerStub])
def test_without_a_management_api(stub_class: type[TorchServeStub]) -> None:
    """No version is known, but the inference API's description of the model tells whether there is one."""
    with stub_class() as stub:
        stub.management = False
        assert metadata_of(stub.uri()).version == ""
        assert use(stub.uri(version=1), lambda client: client.predict(ONE_ROW, 1, TIMEOUT_S)).version == "1"
        with pytest.raises(NotServedError, match="Model not found: other"):
            metadata_of(stub.uri(model="other"))


def test_a_management_api_elsewhere() -> None:
    with TorchServeStub() as stub, TorchServeStub() as management:
        stub.management = False
        management.model.flip(3)
        assert metadata_of(f"{stub.uri()}?management={management.address}").version == "3"
        management.down()
        assert metadata_of(f"{stub.uri()}?management={management.address}").version == ""


def test_the_version_is_read_again_only_after_a_while() -> None:
    """Every few seconds, in the background: not with each request, and never in front of one."""
    with TorchServeStub() as stub:
        versions = versions_until_flipped(
            stub, lambda clock: MmsClient(parse(stub.uri()), ClientOptions(), version_refresh_s=5, clock=clock)
        )
    assert versions[:2] == ["1", "1"]
    assert versions[-1] == "2"


# ---- odd servers and error bodies

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error_of(handle: Handle, work: str = "predict") -> ModelError:
    """What a client raises from a server that answers every request by ``handle``."""

    async def ask() -> ModelError:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = MmsClient(parse(f"mms+http://127.0.0.1:{runner.addresses[0][1]}/m"), ClientOptions())
        try:
            with pytest.raises(ModelError) as caught:
                await (client.metadata(TIMEOUT_S) if work == "metadata" else client.predict(ONE_ROW, 1, TIMEOUT_S))
            return caught.value
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(ask())


def replying(status: int, body: bytes = b"", reason: str | None = None, content_type: str = "application/json") -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, reason=reason, content_type=content_type)

    return handle


def said(status: int, kind: str, message: str) -> Handle:
    """A front end's own error."""
    return replying(status, f'{{"code": {status}, "type": "{kind}", "message": "{message}"}}'.encode())


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        (said(503, "InternalServerException", "Prediction failed"), ModelFailedError),
        (said(500, "InternalServerException", "Worker died."), ModelFailedError),
        (said(507, "InternalServerException", "Out of resources"), ModelFailedError),
        (said(503, "InternalServerException", "number of batch response mismatched"), ModelFailedError),
        (said(500, "InternalServerException", "Internal Server Error"), TransientError),
        (said(503, "ServiceUnavailableException", "No worker is available to serve request"), UnavailableError),
        (said(404, "ModelNotFoundException", "Model not found: m"), NotServedError),
        (said(404, "ModelVersionNotFoundException", "Model version: 7 does not exist"), NotServedError),
        (said(400, "BadRequestException", "Parameter model_name is required."), RejectedError),
        (replying(413), RequestTooLargeError),
        (replying(429), OverloadedError),
        (replying(502, b"<html>"), UnavailableError),
        (replying(503, b"<html>"), UnavailableError),
    ],
)
def test_errors(handle: Handle, error: type[ModelError]) -> None:
    caught = error_of(handle)
    assert type(caught) is error
    assert "model m at 127.0.0.1" in str(caught)


def test_a_handlers_own_status_tells_its_reason_but_not_its_body() -> None:
    """A handler may answer with the example that it did not like."""
    caught = error_of(replying(400, b'{"given": "secret"}', reason="wrong width"))
    assert isinstance(caught, RejectedError)
    assert "HTTP 400: wrong width" in str(caught)
    assert "secret" not in str(caught)
    caught = error_of(replying(422, b"secret", reason="wrong width", content_type="text/plain"))
    assert "secret" not in str(caught)
    assert "the reason" in str(error_of(replying(400, b'{"error": "the reason"}')))


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_server_of_another_kind(status: int) -> None:
    """TensorFlow Serving's REST port, say."""
    assert isinstance(error_of(replying(status), "metadata"), NotServedError)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_not_well(status: int) -> None:
    assert isinstance(error_of(replying(status, b'{"status": "Unhealthy"}'), "metadata"), UnavailableError)


def test_an_empty_answer_is_malformed() -> None:
    assert isinstance(error_of(replying(200)), MalformedAnswerError)


# ---- poison, which looks like an outage

POISON = -999.0


def ask_all(stub: TorchServeStub, values: list[float], time: Time, on_unavailable: str = "hold") -> list[Any]:
    """Each value as a request of its own through a dispatcher, all at once; each one's output or error class."""

    async def work() -> list[list[RowsResult]]:
        client = open_client(stub.uri())
        options = DispatchOptions(TIMEOUT_S, RetryPolicy(60.0), on_unavailable)
        signature = (await client.metadata(TIMEOUT_S)).signature
        asked = Dispatcher(client, signature, options, time, time.sleep, Highest())
        try:
            return await asyncio.gather(*(asked.answer(x_of(value), 1) for value in values))
        finally:
            await asked.close()

    return [row for outcomes in run(work()) for row in by_row(outcomes, 1)]


def test_only_the_poison_fails_though_its_answer_is_503() -> None:
    values = [float(value) for value in range(30)]
    values[11] = values[23] = POISON
    time = Time()
    with MultiModelServerStub() as stub:
        stub.faults.poison = lambda row: bool(row["x"][0] == POISON)
        found = ask_all(stub, values, time)
    assert found == ["ServerError" if value == POISON else 0.5 * value + 2 for value in values]
    assert time.now - 1000 < 60, "the server answers others: the deadline need not pass"


def test_a_poison_record_that_comes_alone_and_first_does_not_hold_the_job() -> None:
    """There is no other row to probe with, but the server says that its model failed on this one."""
    with MultiModelServerStub() as stub:
        stub.faults.poison = lambda row: True
        assert ask_all(stub, [POISON], Time()) == ["ServerError"]


def test_no_worker_is_an_outage_which_is_no_records_fault() -> None:
    with MultiModelServerStub() as stub:
        stub.faults.fail_next(None, "UNAVAILABLE", "No worker is available to serve request for model: model.")
        assert ask_all(stub, [1.0], Time(), "dead_letter") == ["Unavailable"]


def test_a_spec_of_the_stub() -> None:
    """The stub's model gets arrays of its signature's dtypes, as a TensorFlow model would."""
    spec = TensorSpec("int64", (-1,))
    with TorchServeStub(StubModel.of({"n": spec}, {"m": spec}, lambda i: {"m": i["n"] + 1})) as stub:
        answer = use(stub.uri(), lambda client: client.predict({"n": np.array([41])}, 1, TIMEOUT_S))
    assert answer.outputs == {"m": [42]}
