"""Both clients of the Open Inference Protocol against a real MLServer 1.7.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from tests.servers.mlserver import OipServer, mlserver
from tests.servers.oip_requests import (
    POISON,
    TIMEOUT_S,
    dispatched,
    error_of,
    expected,
    metadata,
    predict,
    use,
    x_of,
)
from tests.servers.oip_suite import OipServerSuite
from transforms.clients.base import ModelClient
from transforms.errors import NotServedError, RejectedError, TransientError

ECHOED = {
    "FP32": "float32",
    "FP64": "float64",
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign}int{bits}".lower() for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with mlserver() as server:
        yield server


class TestMlServer(OipServerSuite):
    """It does not list versions, but has them; no server-side limit of rows."""

    version = "3"
    undeclared = ([{"x": [1, 2, 3, 4]}, {"x": [5.5, 6, 7, 8]}], [[1, 2, 3, 4], [5.5, 6, 7, 8]])
    failures_seen = ("http",)

    def echoed(self, protocol: str) -> Mapping[str, str]:
        return ECHOED


def test_the_metadata_of_a_version_name_it(server: OipServer, protocol: str) -> None:
    assert metadata(server.uri(protocol, "half/3")).version == "3"


def test_unknown_models_and_versions(server: OipServer, protocol: str) -> None:
    error = error_of(server.uri(protocol, "half/9"))
    assert isinstance(error, NotServedError)
    assert "it has the versions 3 (READY)" in str(error)
    error = error_of(server.uri(protocol, "nope"))
    assert isinstance(error, NotServedError)
    assert "the server has the models echo, half, polite" in str(error)


def test_text(server: OipServer, protocol: str) -> None:
    """MLServer's string codec answers [n, 1] for [n]."""
    words = np.array([b"ab", "ä€".encode()], dtype=object)
    answer = predict(server.uri(protocol, "shout"), {"words": words}, 2)
    assert answer.outputs["loud"].ravel().tolist() == [b"AB", "Ä€".encode()]


def test_bytes_that_are_no_text_are_rejected(server: OipServer, protocol: str) -> None:
    """Over REST by this client, since JSON can't carry them; over gRPC by MLServer's string codec."""
    words = np.array([b"\xff"], dtype=object)
    assert isinstance(error_of(server.uri(protocol, "shout"), {"words": words}), RejectedError)


def test_what_it_does_not_check(server: OipServer, protocol: str) -> None:
    """Names, shapes and dtypes of a request are the model's own affair, whatever its metadata say."""
    uri = server.uri(protocol, "half")
    assert predict(uri, {"x": x_of(2)[:, :3]}, 2).outputs["y"].shape == (2, 3)
    assert predict(uri, {"other": x_of(2).astype(np.int32)}, 2).outputs["y"].shape == (2, 4)


def test_a_wrong_dtype_is_an_internal_error(server: OipServer, protocol: str) -> None:
    error = error_of(server.uri(protocol, "half"), {"x": np.array([[b"secret-payload"] * 4], dtype=object)})
    assert isinstance(error, TransientError)
    assert "secret-payload" not in str(error)


def test_not_a_number_is_rejected(server: OipServer, protocol: str) -> None:
    """JSON: 422 for a literal NaN. gRPC: MLServer can't write NaN raw into its answer."""
    x = x_of(2)
    x[1, 1] = np.nan
    assert isinstance(error_of(server.uri(protocol, "half"), {"x": x}, 2), RejectedError)
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {1: "Rejected"})


def test_infinities(server: OipServer) -> None:
    """Only gRPC carries them: its JSON reader refuses them, and its JSON writer says null."""
    x = x_of(2)
    x[1, 1] = np.inf
    answer = predict(server.uri("grpc", "half"), {"x": x}, 2)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x + 2)
    assert isinstance(error_of(server.uri("http", "half"), {"x": x}, 2), RejectedError)
    x[1, 1] = np.finfo(np.float32).max
    big = np.where(x > 1e30, 1e300, x.astype(np.float64))  # FP64, which the model makes an infinite FP32 of
    assert np.isnan(predict(server.uri("http", "half"), {"x": big}, 2).outputs["y"][1, 1])


def test_a_poison_row_that_the_model_rejects(server: OipServer, protocol: str) -> None:
    """``polite`` says 400."""
    x = x_of(16)
    x[11, 2] = POISON
    assert dispatched(server.uri(protocol, "polite"), x) == expected(x, {11: "Rejected"})


def test_the_request_after_a_500_is_answered(server: OipServer) -> None:
    """MLServer closes the connection behind a 500 without saying so."""
    x = x_of(1)

    async def work(client: ModelClient) -> None:
        for _ in range(10):
            with pytest.raises(TransientError, match="HTTP 500"):
                await client.predict({"x": x * 0 + np.float32(POISON)}, 1, TIMEOUT_S)
            assert (await client.predict({"x": x}, 1, TIMEOUT_S)).version == "3"

    use(server.uri("http", "half"), work)


def test_a_batch_beyond_its_message_size(server: OipServer) -> None:
    """gRPC: 4 MiB at most. The batch is halved until it goes through."""
    x = np.zeros((300_000, 4), np.float32)
    error = error_of(server.uri("grpc", "half"), {"x": x}, len(x))
    assert isinstance(error, RejectedError)
    assert "larger than max" in str(error)
    assert dispatched(server.uri("grpc", "half"), x) == [2.0] * len(x)
