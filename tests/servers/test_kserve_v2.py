"""Both clients of the Open Inference Protocol against a real KServe 0.21 Python server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from tests.servers.kserve_v2 import kserve_v2
from tests.servers.mlserver import OipServer
from tests.servers.oip_requests import dispatched, error_of, expected, predict, x_of
from tests.servers.oip_suite import DTYPES, OipServerSuite
from transforms.errors import NotServedError, RejectedError

REFUSED = -998.0


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with kserve_v2() as server:
        yield server


class TestKServe(OipServerSuite):
    """It knows no versions."""

    def echoed(self, protocol: str) -> Mapping[str, str]:
        return {name: name for name in (*DTYPES, "float16") if name != "float16" or protocol == "grpc"}

    def echo(self, uri: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        """One after the other."""
        return {name: predict(uri, {name: array}, 2).outputs[name] for name, array in inputs.items()}


def test_unknown_models_and_versions(server: OipServer, protocol: str) -> None:
    assert isinstance(error_of(server.uri(protocol, "nope")), NotServedError)
    if protocol == "http":
        assert isinstance(error_of(server.uri(protocol, "half/9")), NotServedError)
    else:  # it ignores the version: nothing tells that it was not the one asked for
        assert predict(server.uri(protocol, "half/9"), {"x": x_of(1)}, 1).version == ""


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


def test_invalid_input(server: OipServer, protocol: str) -> None:
    """KServe has an error for it: 400 and INVALID_ARGUMENT."""
    x = x_of(4)
    x[1, 2] = REFUSED
    assert isinstance(error_of(server.uri(protocol, "half"), {"x": x}, 4), RejectedError)
    assert dispatched(server.uri(protocol, "half"), x) == expected(x, {1: "Rejected"})
