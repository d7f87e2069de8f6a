"""``:rawPredict``: the contract over it, and what the contract leaves to it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.clients import asking
from transforms.clients import check_uri, open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.vertex.uri import parse
from transforms.clients.wire.json_rows import as_instances
from transforms.errors import (
    ConfigError,
    ModelError,
    NotServedError,
    RejectedError,
    RequestTooLargeError,
    UnavailableError,
)
from transforms.testing.contract import TIMEOUT_S, ClientContract
from transforms.testing.json_http.app import REQUEST, RESPONSE
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.types import TensorSpec

BASE = "vertex://my-project/europe-west4/1234567890"
MANY = ClientOptions(request=REQUEST, response=(("", RESPONSE),))


class RawStub(VertexRestStub):
    """An endpoint that is asked by ``:rawPredict``.

    Attributes:
        refusal: The answer to raw requests, if set.
    """

    raw = "raw=json"
    refusal: web.Response | None = None

    async def _answered_raw(self, request: web.Request, endpoint: str) -> web.StreamResponse:
        return self.refusal or await super()._answered_raw(request, endpoint)

    def uri(self, *args: Any, **kwargs: Any) -> str:
        """As that of the stub, with ``raw``."""
        return f"{super().uri(*args, **kwargs)}&{self.raw}"


class TestRaw(ClientContract):
    """Many rows a request, by a template."""

    stub_class = RawStub
    dtypes = ()
    has_signature = False
    has_labels = False
    tells_version = False
    visible_kinds = ("short", "long", "scalar", "no_outputs", "malformed")
    where = "endpoint model"

    @staticmethod
    def over_tls(uri: str) -> str:
        return uri.replace("api_endpoint=", "api_endpoint=https://")

    test_a_version_and_a_label_in_the_uri = None  # type: ignore[assignment]  # not collected: neither can be asked for

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """By the template of the stub's app."""
        return open_client(
            uri, dataclasses.replace(options or ClientOptions(), request=MANY.request, response=MANY.response)
        )

    def test_a_model_still_loading_is_not_available_yet(self, stub: StubServer) -> None:
        """An endpoint to which nothing is deployed yet."""
        stub.model.versions = {}
        error = self.metadata_error(stub.uri())
        assert isinstance(error, NotServedError)
        assert "no deployed models" in str(error)


@pytest.fixture
def stub() -> Iterator[RawStub]:
    with RawStub() as stub:
        yield stub


use = functools.partial(asking.use, options=MANY)
ask = functools.partial(asking.ask, options=MANY)


def test_the_body_is_the_containers_own(stub: RawStub) -> None:
    """And which model answered stands on each prediction."""
    stub.deployed_model = "42"
    answer = ask(f"{stub.uri()}&content_type=application/vnd.api%2Bjson", {"x": [1.0]}, {"x": [2.0]})
    assert list(answer.outputs["y"]) == [[2.5], [3.0]]
    assert stub.last_raw[0] == "application/vnd.api+json"
    assert json.loads(stub.last_raw[1]) == {"options": {"trace": False}, "rows": [{"x": [1.0]}, {"x": [2.0]}]}
    assert answer.headers == (("inference.deployed_model", b"42"),)


def test_bytes(stub: RawStub) -> None:
    stub.raw = "raw=bytes&content_type=image/png"
    stub.model = StubModel.of({"x": TensorSpec("float32", (-1, -1))}, {}, lambda i: {"y": i["x"]})
    image = np.array([b'{"x": [7]}'], object)
    answer = use(stub.uri(), lambda client: client.predict({"body": image}, 1, TIMEOUT_S), options=ClientOptions())
    assert list(answer.outputs["y"]) == [[7.0]]
    assert stub.last_raw == ("image/png", b'{"x": [7]}')


def test_is_it_there_runs_no_model(stub: RawStub) -> None:
    async def nothing(client: ModelClient) -> None:
        assert (await client.metadata(TIMEOUT_S)).model == "model"
        assert client.metadata_requests == 2, "each is a request to the endpoint, which a rate limit counts"

    use(stub.uri(), nothing)
    assert stub.faults.requests == 0
    assert stub.last_raw == ("application/json", b"")
    with pytest.raises(NotServedError, match="endpoints/other` not found"):
        use(stub.uri(model="other"), nothing)
    stub.access_token = "t"
    with pytest.raises(NotServedError, match="invalid authentication credentials"):
        use(stub.uri(), nothing)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (422, {"detail": [{"loc": ["body", "x"], "msg": "required", "input": "secret"}]}, RejectedError, "body.x: required"),
        (503, {"detail": "warming up"}, UnavailableError, "warming up"),
        (404, {"detail": "Not Found"}, NotServedError, "Not Found"),
        (400, {"error": {"code": 400, "message": "no", "status": "FAILED_PRECONDITION"}}, RejectedError, "no"),
    ],
)
def test_errors_of_the_container_and_of_google(
    stub: RawStub, status: int, body: Any, kind: type[ModelError], said: str
) -> None:
    """The container's may repeat the record, so that only their texts are kept."""

    async def run() -> None:
        async with open_client(stub.uri(), MANY) as client:
            await client.metadata(TIMEOUT_S)
            stub.refusal = web.json_response(body, status=status)
            await client.predict(as_instances([{"x": [1.0]}]), 1, TIMEOUT_S)

    with pytest.raises(kind, match=said) as caught:
        asyncio.run(run())
    assert "secret" not in str(caught.value)


def test_a_request_above_the_limit_is_not_sent(stub: RawStub) -> None:
    with pytest.raises(RequestTooLargeError, match=r"this record alone makes a request of .* takes 1572864 at most"):
        ask(stub.uri(), {"x": "a" * 1_600_000})
    assert stub.faults.requests == 0


def test_where_it_is_asked() -> None:
    name = "projects/my-project/locations/europe-west4/endpoints/1234567890"
    assert (
        parse(f"{BASE}?raw=json").predict_url == f"https://europe-west4-aiplatform.googleapis.com:443/v1/{name}:rawPredict"
    )
    assert parse(f"{BASE}?raw=json").transport == "rest"
    assert parse(f"{BASE}?raw=json&dedicated=10.1.2.3").predict_url == f"https://10.1.2.3:443/v1/{name}:rawPredict"


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ("raw=text", "raw=text is none of json, bytes, multipart"),
        ("raw=json&transport=grpc", "raw requests are sent over REST"),
        ("raw=json&parameters={}", "write it into the template of --request"),
        ("raw=json&private=http://h/v1/models/4:predict", "has no :rawPredict"),
        ("raw=json&part=file", "part names the part of a form"),
        ("raw=multipart&content_type=image/png", "leave content_type out"),
        ("content_type=image/png", "content_type is for raw=json"),
    ],
)
def test_mistakes(query: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(f"{BASE}?{query}")
    assert any(mistake in told for told in caught.value.mistakes), caught.value.mistakes
