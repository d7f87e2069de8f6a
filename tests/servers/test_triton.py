"""Both clients of the Open Inference Protocol against a real Triton 2.51 (nvidia-pytriton 0.7.0, CPU)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yarl

from tests.servers.mlserver import OipServer
from tests.servers.oip_requests import (
    POISON,
    PROTOCOLS,
    TIMEOUT_S,
    dispatched,
    error_of,
    expected,
    metadata,
    predict,
    use,
    x_of,
)
from tests.servers.triton import triton
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.open_inference.http import OipHttpClient, parse
from transforms.clients.wire.http import HttpConnection, HttpResponse
from transforms.errors import ModelFailedError, NotServedError, RejectedError, TransientError, UnavailableError
from transforms.types import Answer, TensorSpec

NUMERIC = ("float16", "float32", "float64", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with triton() as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_metadata(server: OipServer, protocol: str) -> None:
    found = metadata(server.uri(protocol, "half"))
    spec = TensorSpec("float32", (-1, 4))
    assert (found.model, found.version, found.max_rows) == ("half", "1", 16)
    assert (found.signature.inputs, found.signature.outputs) == ({"x": spec}, {"y": spec})


@pytest.mark.parametrize("model", ["half", "half/1"])
def test_predict_names_the_version_that_answered(server: OipServer, protocol: str, model: str) -> None:
    x = x_of(5)
    x[1, 1], x[2, 2], x[3, 3] = np.nan, np.inf, -np.inf
    answer = predict(server.uri(protocol, model), {"x": x}, 5)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x + 2)
    assert answer.outputs["y"].dtype == np.float32
    assert answer.version == "1"


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


def test_every_dtype_both_ways(server: OipServer, protocol: str) -> None:
    inputs: dict[str, np.ndarray] = {}
    for name in NUMERIC:
        inputs[name] = np.array([[0, 1], [1, 0]], name)
        if inputs[name].dtype.kind in "iu":
            inputs[name][0] = np.iinfo(name).min, np.iinfo(name).max
    outputs = predict(server.uri(protocol, "echo"), inputs, 2).outputs
    for name, sent in inputs.items():
        assert outputs[f"{name}_out"].dtype == sent.dtype
        np.testing.assert_array_equal(outputs[f"{name}_out"], sent, err_msg=name)


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


def test_only_the_poison_row_fails(server: OipServer, protocol: str) -> None:
    """The model's exception comes as 500 and INTERNAL: retried until the deadline, then bisected."""
    x = x_of(16)
    x[11, 2] = POISON
    error = error_of(server.uri(protocol, "half"), {"x": x}, 16)
    assert isinstance(error, ModelFailedError)
    assert "ValueError" in str(error)
    assert "a row is poison" not in str(error)  # an exception's text may quote the record
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {11: "ServerError"})
    assert dispatched(server.uri(protocol, "half"), x[11:12]) == ["ServerError"]  # with nothing to probe with


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


def test_many_requests_at_once(server: OipServer, protocol: str) -> None:
    async def work(client: ModelClient) -> list[Any]:
        return await asyncio.gather(
            *(client.predict({"x": np.full((1 + n % 16, 4), n, np.float32)}, 1 + n % 16, TIMEOUT_S) for n in range(60))
        )

    for n, answer in enumerate(use(server.uri(protocol, "half"), work)):
        np.testing.assert_array_equal(answer.outputs["y"], np.full((1 + n % 16, 4), 0.5 * n + 2, np.float32))
