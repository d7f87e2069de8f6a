"""Both clients of the Open Inference Protocol against a real Triton 2.51 (nvidia-pytriton 0.7.0, CPU)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import yarl

from tests.servers.mlserver import OipServer
from tests.servers.oip_requests import (
    POISON,
    TIMEOUT_S,
    dispatched,
    error_of,
    expected,
    predict,
    use,
    x_of,
)
from tests.servers.oip_suite import DTYPES, OipServerSuite
from tests.servers.triton import triton
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.open_inference.http import OipHttpClient, parse
from transforms.clients.wire.http import HttpConnection, HttpResponse
from transforms.errors import ModelFailedError, NotServedError, RejectedError, TransientError, UnavailableError
from transforms.types import Answer


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with triton() as server:
        yield server


class TestTriton(OipServerSuite):
    """Its metadata say the version and the largest batch. No model without declared inputs is among those it runs."""

    described_version = version = "1"
    max_rows = 16
    test_a_model_without_declared_inputs = None  # type: ignore[assignment]

    def echoed(self, protocol: str) -> Mapping[str, str]:
        return {name: name for name in ("float16", *DTYPES)}

    def echo(self, uri: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        """It names each output after its input."""
        return {name.removesuffix("_out"): values for name, values in super().echo(uri, inputs).items()}


@pytest.mark.parametrize("model", ["half", "half/1"])
def test_not_a_number_and_infinities(server: OipServer, protocol: str, model: str) -> None:
    x = x_of(5)
    x[1, 1], x[2, 2], x[3, 3] = np.nan, np.inf, -np.inf
    answer = predict(server.uri(protocol, model), {"x": x}, 5)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x + 2)


@pytest.mark.parametrize("model", ["nope", "half/9", "half/abc"])
def test_unknown_models_and_versions(server: OipServer, protocol: str, model: str) -> None:
    """pytriton closes the repository's index: the versions come from the metadata."""
    error = error_of(server.uri(protocol, model))
    assert isinstance(error, NotServedError)
    if model == "half/9":
        assert "it has the versions 1 (READY)" in str(error)


class ModelsOnly(HttpConnection):
    """The connections through a gateway that forwards the paths of models alone: not those that say what the server can."""

    async def send(self, method: str, url: yarl.URL, *args: Any, **options: Any) -> HttpResponse:
        if "/models/" not in url.path:
            return HttpResponse(404, b"", None, "", "", {})
        return await super().send(method, url, *args, **options)


def in_json(uri: str, inputs: dict[str, np.ndarray], rows: int) -> Answer:
    """Sends JSON to a server that would take binary tensors."""

    async def ask() -> Answer:
        async with OipHttpClient(parse(uri), ClientOptions(), connect=ModelsOnly) as client:
            await client.metadata(TIMEOUT_S)
            return await client.predict(inputs, rows, TIMEOUT_S)

    return asyncio.run(ask())


def test_json_with_not_a_number_and_infinities(server: OipServer) -> None:
    """Triton reads and writes them as literals."""
    x = np.array([[np.nan, np.inf, -np.inf, 1e-30]], np.float32)
    answer = in_json(server.uri("http", "half"), {"x": x}, 1)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x + 2)


def test_bytes_of_any_kind(server: OipServer, protocol: str) -> None:
    words = np.array([[b"ab"], [b"\xff\x00"], [b""]], dtype=object)
    assert predict(server.uri(protocol, "shout"), {"words": words}, 3).outputs["loud"].tolist() == [
        [b"AB"],
        [b"\xff\x00"],
        [b""],
    ]


def test_text_in_json(server: OipServer) -> None:
    words = np.array([['ä€\n"'.encode()]], dtype=object)
    loud = in_json(server.uri("http", "shout"), {"words": words}, 1).outputs["loud"]
    assert np.asarray(loud).tolist() == words.tolist()


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"x": x_of(1)[:, :3]}, "unexpected shape"),
        ({"x": x_of(1).astype(np.float64)}, "data-type is 'FP64'"),
        ({"x": np.array([[b"secret-payload"] * 4], dtype=object)}, "data-type is 'BYTES'"),
        ({"other": x_of(1)}, "unexpected inference input 'other'"),
        ({}, "expected 1 inputs but got 0"),
        ({"x": x_of(17)}, "batch-size must be <= 16"),
    ],
)
def test_requests_that_do_not_fit_are_rejected(
    server: OipServer, protocol: str, inputs: dict[str, np.ndarray], problem: str
) -> None:
    error = error_of(server.uri(protocol, "half"), inputs, 1)
    assert isinstance(error, RejectedError)
    assert problem in str(error)
    assert "secret-payload" not in str(error)


def test_a_batch_larger_than_its_maximum_is_answered_in_parts(server: OipServer, protocol: str) -> None:
    x = x_of(40)
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {})


def test_the_models_exception_is_named(server: OipServer, protocol: str) -> None:
    x = x_of(16)
    x[11, 2] = POISON
    error = error_of(server.uri(protocol, "half"), {"x": x}, 16)
    assert isinstance(error, ModelFailedError)
    assert "ValueError" in str(error)
    assert "a row is poison" not in str(error)  # an exception's text may quote the record


def test_a_full_queue_is_overload(server: OipServer, protocol: str) -> None:
    """503 and UNAVAILABLE, but the server is there."""

    async def work(client: ModelClient) -> list[Any]:
        requests = [client.predict({"x": x_of(16)}, 16, TIMEOUT_S) for _ in range(12)]
        return await asyncio.gather(*requests, return_exceptions=True)

    results = use(server.uri(protocol, "crowded"), work)
    answers = [result for result in results if isinstance(result, Answer)]
    refused = [result for result in results if not isinstance(result, Answer)]
    assert answers
    assert refused
    for error in refused:
        assert isinstance(error, TransientError)
        assert not isinstance(error, UnavailableError)
        assert "queue" in str(error)
