"""Both clients of the Open Inference Protocol against a real KServe 0.21 Python server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.servers.kserve_v2 import kserve_v2
from tests.servers.mlserver import OipServer
from tests.servers.oip_requests import POISON, PROTOCOLS, dispatched, error_of, expected, metadata, predict, x_of
from transforms.errors import ModelFailedError, NotServedError, RejectedError
from transforms.types import TensorSpec

REFUSED = -998.0
NUMERIC = ("float32", "float64", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with kserve_v2() as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_metadata(server: OipServer, protocol: str) -> None:
    found = metadata(server.uri(protocol, "half"))
    spec = TensorSpec("float32", (-1, 4))
    assert (found.model, found.version, found.max_rows) == ("half", "", None)
    assert (found.signature.inputs, found.signature.outputs) == ({"x": spec}, {"y": spec})


def test_predict(server: OipServer, protocol: str) -> None:
    answer = predict(server.uri(protocol, "half"), {"x": x_of(5)}, 5)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x_of(5) + 2)
    assert answer.outputs["y"].dtype == np.float32
    assert answer.version == ""


def test_unknown_models_and_versions(server: OipServer, protocol: str) -> None:
    assert isinstance(error_of(server.uri(protocol, "nope")), NotServedError)
    if protocol == "http":
        assert isinstance(error_of(server.uri(protocol, "half/9")), NotServedError)
    else:  # it ignores the version: nothing tells that it was not the one asked for
        assert predict(server.uri(protocol, "half/9"), {"x": x_of(1)}, 1).version == ""


def test_every_dtype_both_ways(server: OipServer, protocol: str) -> None:
    inputs: dict[str, np.ndarray] = {}
    for name in (*NUMERIC, "float16") if protocol == "grpc" else NUMERIC:
        inputs[name] = np.array([[0, 1], [1, 0]], name)
        if inputs[name].dtype.kind in "iu":
            inputs[name][0] = np.iinfo(name).min, np.iinfo(name).max
        outputs = predict(server.uri(protocol, "echo"), {name: inputs[name]}, 2).outputs
        assert outputs[name].dtype == inputs[name].dtype
        np.testing.assert_array_equal(outputs[name], inputs[name], err_msg=name)


def test_text(server: OipServer, protocol: str) -> None:
    words = np.array([["ab"], ["ä€"]])
    answer = predict(server.uri(protocol, "echo"), {"words": words}, 2)
    assert answer.outputs["words"].tolist() == [[b"ab"], ["ä€".encode()]]


def test_not_a_number_and_infinities(server: OipServer, protocol: str) -> None:
    """It reads them as literals; over REST it writes null for all three, which comes as NaN."""
    x = np.array([[np.nan, np.inf, -np.inf, 1]], np.float32)
    lossy = np.array([[np.nan, np.nan, np.nan, 1]], np.float32)
    answer = predict(server.uri(protocol, "half"), {"x": x}, 1)
    np.testing.assert_array_equal(answer.outputs["y"], 0.5 * (x if protocol == "grpc" else lossy) + 2)


def test_a_model_without_declared_inputs(server: OipServer, protocol: str) -> None:
    uri = server.uri(protocol, "undeclared")
    assert not metadata(uri).signature.known
    column = np.fromiter([[1, 2, 3, 4], [5.5, 6, 7, 8]], dtype=object, count=2)
    assert predict(uri, {"instances": column}, 2).outputs["y"].tolist() == [[2.5, 3, 3.5, 4], [4.75, 5, 5.5, 6]]


def test_only_the_poison_row_fails(server: OipServer, protocol: str) -> None:
    """An exception is 500 and INTERNAL: retried until the deadline, then bisected."""
    x = x_of(16)
    x[11, 2] = POISON
    assert isinstance(error_of(server.uri(protocol, "half"), {"x": x}, 16), ModelFailedError)
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {11: "ServerError"})
    assert dispatched(server.uri(protocol, "half"), x[11:12]) == ["ServerError"]  # with nothing to probe with


def test_invalid_input(server: OipServer, protocol: str) -> None:
    """KServe has an error for it: 400 and INVALID_ARGUMENT."""
    x = x_of(4)
    x[1, 2] = REFUSED
    assert isinstance(error_of(server.uri(protocol, "half"), {"x": x}, 4), RejectedError)
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {1: "Rejected"})
