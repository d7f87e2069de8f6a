"""Vertex AI's refusals: statuses over both transports, Google's error bodies, quota, and answers that are none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.clients.tfserving.test_grpc import ONE_ROW, TIMEOUT_S
from tests.clients.vertex.test_client import both, echo, predict, use
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.vertex.errors import from_body
from transforms.errors import (
    ModelError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import VertexStub


@both
@pytest.mark.parametrize(
    ("code", "text", "error", "told"),
    [
        ("FAILED_PRECONDITION", "container: could not parse the instance", RejectedError, "could not parse"),
        ("FAILED_PRECONDITION", "Model 1 is not deployed to the endpoint", NotServedError, "not deployed"),
        ("ABORTED", "try again", TransientError, "ABORTED"),
        ("DATA_LOSS", "try again", TransientError, "DATA_LOSS"),
        ("PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied", NotServedError, r"roles/aiplatform\.user"),
        ("RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model",
         OverloadedError, "Quota exceeded"),
    ],
)  # fmt: skip
def test_statuses(stub_class: type[VertexStub], code: str, text: str, error: type[ModelError], told: str) -> None:
    with stub_class(echo()) as stub:
        stub.faults.fail_next(1, code, text)
        with pytest.raises(error, match=told) as caught:
            predict(stub.uri(), 1)
        assert type(caught.value) is error


@both
def test_quota_says_how_long_to_wait(stub_class: type[VertexStub]) -> None:
    with stub_class(echo()) as stub:
        stub.faults.fail_next(1, "RESOURCE_EXHAUSTED", "Quota exceeded", retry_after_s=2.5)
        with pytest.raises(TransientError) as caught:
            predict(stub.uri(), 1)
        assert caught.value.retry_after_s == 2.5


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAVAILABLE"])
def test_a_refusal_of_many_words_over_grpc(code: str) -> None:
    """Message and details are headers to gRPC: above 8 kB of them it made another error of it, now and then."""
    with VertexGrpcStub(echo()) as stub:
        stub.faults.fail_next(20, code, "the reason: " + "y" * 50_000)
        for _ in range(20):
            with pytest.raises(ModelError, match=f"{code}: the reason"):
                predict(stub.uri(), 1)


def test_details_that_contradict_the_status() -> None:
    with VertexGrpcStub(echo()) as stub:
        stub.status_in_details = 13
        stub.faults.fail_next(1, "RESOURCE_EXHAUSTED", "Quota exceeded", retry_after_s=2)
        with pytest.raises(TransientError, match="Quota exceeded") as caught:
            predict(stub.uri(), 1)
        assert caught.value.retry_after_s == 2


@pytest.mark.parametrize(
    ("told", "error", "retry_after_s"),
    [
        ("Prediction failed: bad instance", RejectedError, None),
        ({"message": "bad", "status": "INVALID_ARGUMENT"}, RejectedError, None),
        ({"code": 429, "message": "Quota exceeded"}, OverloadedError, None),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded",
          "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "3s"}]}, OverloadedError, 3.0),
        ({"code": 503, "message": "overloaded"}, UnavailableError, None),
    ],
)  # fmt: skip
def test_an_error_for_the_batch_in_an_answer_of_200(told: Any, error: type[ModelError], retry_after_s: float | None) -> None:
    with VertexRestStub(echo()) as stub:
        stub.error_in_200 = told
        with pytest.raises(error) as caught:
            predict(stub.uri(), 1)
        assert type(caught.value) is error
        assert getattr(caught.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize(
    ("document", "code", "retry_after_s"),
    [
        (None, "UNAVAILABLE", 9.0),
        ({}, "UNAVAILABLE", 9.0),
        ([1], "UNAVAILABLE", 9.0),
        ({"error": None}, "UNAVAILABLE", 9.0),
        ({"error": "container is busy"}, "UNAVAILABLE", 9.0),
        ({"error": {"status": "NEW_STATUS"}}, "UNAVAILABLE", 9.0),
        ({"error": {"code": "503", "details": [3, {"@type": 1}]}}, "UNAVAILABLE", 9.0),
        ({"error": {"code": 404, "details": 5}}, "NOT_FOUND", 9.0),
        ({"error": {"status": ["odd"], "details": {"@type": "x"}}}, "UNAVAILABLE", 9.0),
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "0.25s"}]}}, "UNAVAILABLE", 0.25),
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "soon"}]}}, "UNAVAILABLE", 9.0),
        ({"error": {"details": [{"@type": "x/google.rpc.Help", "retryDelay": "1s"}]}}, "UNAVAILABLE", 9.0),
    ],
)
def test_error_bodies_of_any_form(document: Any, code: str, retry_after_s: float) -> None:
    refusal = from_body(503, document, "text", 9.0)
    assert (refusal.code, refusal.retry_after_s) == (code, retry_after_s)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, NotServedError),
        (400, RejectedError),
        (401, NotServedError),
        (403, NotServedError),
        (404, NotServedError),
        (405, NotServedError),
        (408, OverloadedError),
        (413, RequestTooLargeError),
        (429, OverloadedError),
        (500, TransientError),
        (501, NotServedError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, OverloadedError),
    ],
)
def test_answers_of_a_gateway_or_a_private_container(status: int, error: type[ModelError]) -> None:
    """HTML, or JSON of another form: the HTTP status alone counts, Retry-After included."""
    headers = {"Retry-After": "4"}
    for body in (b"<html>the\nreason</html>", b'{"error": "the reason"}'):
        caught = error_of(web.Response(status=status, body=body, headers=headers))
        assert type(caught) is error
        assert f"HTTP {status}" in str(caught)
        assert "reason" in str(caught)
        assert getattr(caught, "retry_after_s", 4) == 4


@pytest.mark.parametrize(
    ("body", "error", "of_metadata"),
    [
        (b"", "MalformedAnswerError", "NotServedError"),
        (b"hello", "MalformedAnswerError", "NotServedError"),
        (b"[1]", "MalformedAnswerError", "NotServedError"),
        (b"{}", "MalformedAnswerError", "NotServedError"),
        (b'{"predictions": 1}', "MalformedAnswerError", "NotServedError"),
    ],
)
def test_answers_that_are_none(body: bytes, error: str, of_metadata: str) -> None:
    assert type(error_of(web.Response(body=body))).__name__ == error
    caught = error_of(web.Response(body=body), metadata=True)
    assert type(caught).__name__ == of_metadata
    assert "is it Vertex AI's API?" in str(caught)


def error_of(response: web.Response, metadata: bool = False) -> ModelError:
    """What a client raises from a server that answers everything with ``response``."""

    async def run() -> ModelError:
        async def handle(request: web.Request) -> web.StreamResponse:
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        uri = f"vertex://p/r/e?transport=rest&api_endpoint=127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with open_client(uri) as client:
                with pytest.raises(ModelError) as caught:
                    await (client.metadata(TIMEOUT_S) if metadata else client.predict(ONE_ROW, 1, TIMEOUT_S))
                return caught.value
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_the_transports_are_told_apart() -> None:
    async def metadata(client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    with VertexRestStub() as rest, pytest.raises(NotServedError, match="use &transport=rest"):
        use(rest.uri().replace("transport=rest", "transport=grpc"), metadata)
    with VertexGrpcStub() as grpc, pytest.raises((NotServedError, UnavailableError)):
        use(grpc.uri().replace("transport=grpc", "transport=rest"), metadata)
