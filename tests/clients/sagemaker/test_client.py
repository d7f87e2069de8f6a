"""Bodies, headers, limits and signatures of SageMaker's client, against a server that checks them with botocore's signer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yarl
from multidict import CIMultiDict

from tests.clients.asking import ask, use
from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.sagemaker.client import MOST_BYTES, MOST_WAIT_S, SageMakerClient
from transforms.clients.sagemaker.uri import parse
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json_rows import as_instances
from transforms.errors import (
    ConfigError,
    MalformedAnswerError,
    NotServedError,
    RejectedError,
    RequestTooLargeError,
)
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.json_http.app import REQUEST, RESPONSE
from transforms.testing.sagemaker.stub import SageMakerStub
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec

MANY = ClientOptions(request=REQUEST, response=(("", RESPONSE),))
PLAIN = ClientOptions()


@pytest.fixture
def stub() -> Iterator[SageMakerStub]:
    with SageMakerStub() as stub:
        yield stub


def test_json_signed_and_the_variant_that_answered(stub: SageMakerStub) -> None:
    stub.variant = "AllTraffic"
    answer = ask(f"{stub.uri()}&variant=blue&component=part-1", {"x": [1.0]}, {"x": [2.0]}, options=MANY)
    assert list(answer.outputs["y"]) == [[2.5], [3.0]]
    assert answer.version == "AllTraffic"
    kind, body, headers = stub.seen
    assert (kind, headers["accept"]) == ("application/json", "application/json")
    assert json.loads(body)["rows"] == [{"x": [1.0]}, {"x": [2.0]}]
    assert headers["x-amzn-sagemaker-target-variant"] == "blue"
    assert headers["x-amzn-sagemaker-inference-component"] == "part-1"
    assert "x-amzn-sagemaker-target-variant" in headers["authorization"], "it is signed"
    assert stub.signatures == 2, "that of the empty request, too"


def test_csv_both_ways(stub: SageMakerStub) -> None:
    """With the order of columns in the template: an object has none."""
    options = ClientOptions(request='["$row.b", "$row.a|number"]')
    answer = ask(f"{stub.uri()}&body=csv", {"a": "1", "b": 2}, {"b": 4, "a": 3, "c": 5}, options=options)
    assert stub.seen[:2] == ("text/csv", b"2,1\n4,3\n")
    assert stub.seen[2]["accept"] == "text/csv"
    assert list(answer.outputs["predictions"]) == [[3.0, 2.5], [4.0, 3.5]]


def test_bytes(stub: SageMakerStub) -> None:
    stub.model = StubModel.of({"x": TensorSpec("float32", (-1, -1))}, {}, lambda i: {"y": i["x"]})
    image = np.array([b'{"x": [7]}'], object)
    uri = f"{stub.uri()}&body=bytes&content_type=image/png"
    answer = use(uri, lambda client: client.predict({"body": image}, 1, TIMEOUT_S), PLAIN)
    assert list(answer.outputs["y"]) == [[7.0]]
    assert stub.seen[:2] == ("image/png", b'{"x": [7]}')


def test_a_large_body_is_signed_as_it_is_sent(stub: SageMakerStub) -> None:
    stub.model = StubModel.of({"x": TensorSpec("string", (-1,))}, {}, lambda i: {"y": i["x"]})
    text = "a" * (2 << 20)
    assert list(ask(stub.uri(), {"x": text}, options=PLAIN).outputs["y"]) == [text]


def test_a_request_above_the_limit_is_not_sent(stub: SageMakerStub) -> None:
    with pytest.raises(RequestTooLargeError, match=rf"this record alone makes a request of .* takes {MOST_BYTES} at most"):
        ask(stub.uri(), {"x": "a" * MOST_BYTES}, options=PLAIN)
    assert stub.faults.requests == 0


class Waits:
    """Connections that answer at once, and note how long a request might have taken."""

    def __init__(self) -> None:
        self.longest: list[float] = []

    def __call__(self, *_: object) -> Waits:
        return self

    async def send(self, method: str, url: yarl.URL, timeout_s: float, *_: object) -> HttpResponse:
        self.longest.append(timeout_s)
        return HttpResponse(200, b"[1.0]", None, "application/json", "", CIMultiDict())

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("allowed_s", "waited_s"), [(5.0, 5.0), (600.0, MOST_WAIT_S)])
def test_no_request_waits_much_longer_than_sagemaker_does(allowed_s: float, waited_s: float) -> None:
    """Its container has 60 s: who answers later answers nobody."""
    waits: Any = Waits()
    client = SageMakerClient(parse("sagemaker://e?region=eu-west-1"), PLAIN, None, waits)
    asyncio.run(client.metadata(allowed_s))
    assert waits.longest == [pytest.approx(waited_s, abs=1)]


def test_is_it_there_runs_no_model(stub: SageMakerStub) -> None:
    async def nothing(client: ModelClient) -> None:
        assert (await client.metadata(TIMEOUT_S)).model == "model"
        assert client.metadata_requests == 2, "each is a request to the endpoint, which a rate limit counts"

    use(stub.uri(), nothing, MANY)
    assert stub.faults.requests == 0
    assert stub.seen[:2] == ("application/json", b"")
    with pytest.raises(NotServedError, match=r"Endpoint other of account .* not found.*check the name, the region"):
        use(stub.uri(model="other"), nothing, MANY)
    with pytest.raises(NotServedError, match=r"InvalidSignatureException.*check the region"):
        use(stub.uri().replace("eu-west-1", "eu-west-2"), nothing, MANY)


def test_a_wrong_secret_is_refused(stub: SageMakerStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other-secret")
    with pytest.raises(NotServedError, match="InvalidSignatureException") as caught:
        ask(stub.uri(), {"x": [1.0]}, options=MANY)
    assert "other-secret" not in str(caught.value)
    assert stub.signatures == 0


def test_no_log_holds_a_secret(
    stub: SageMakerStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG botocore would log the headers that it signs."""
    stub.credentials = stub.credentials._replace(token="session-token")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token")
    with caplog.at_level(logging.DEBUG):
        ask(stub.uri(), {"x": [1.0]}, options=MANY)
    assert stub.seen[2]["x-amz-security-token"] == "session-token"
    assert "session-token" not in caplog.text
    assert "stub-secret" not in caplog.text
    assert "1.0" not in caplog.text


def test_preview() -> None:
    async def run() -> Any:
        async with open_client("sagemaker://e?region=eu-west-1&body=csv", PLAIN) as client:
            return client.preview(as_instances([[1, 2]]), 1)

    asked = asyncio.run(run())
    url = "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/e/invocations"
    assert (asked.method, asked.address, asked.body_bytes) == ("POST", url, len(b"1,2\n"))


def test_mistakes_of_csv(stub: SageMakerStub) -> None:
    uri = f"{stub.uri()}&body=csv"
    with pytest.raises(ConfigError, match=r"leave \$rows out"):
        open_client(uri, MANY)
    with pytest.raises(RejectedError, match="no order of columns"):
        ask(uri, {"x": 1.0}, options=PLAIN)
    with pytest.raises(MalformedAnswerError, match="the answer is CSV, and --response is for JSON"):
        ask(uri, [1.0], options=ClientOptions(response=(("", "$.y"),)))
