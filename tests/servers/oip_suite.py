"""What holds for every real server of the Open Inference Protocol, by both of its APIs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

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
from transforms.clients.base import ModelClient
from transforms.errors import ModelFailedError
from transforms.types import TensorSpec

DTYPES = ("float32", "float64", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


class OipServerSuite:
    """The tests. A subclass is in a module with a fixture ``server``; it sets a test to ``None`` that its server can't pass.

    Attributes:
        described_version: The version in the metadata of ``half``; empty where they list none.
        version: The version that answers; empty where answers name none.
        max_rows: The most rows of a request that the metadata declare.
        undeclared: Records for the model ``undeclared``, which answers two rows.
        failures_seen: The APIs whose answers say that the model failed; by others nothing tells it from an outage.
    """

    described_version = ""
    version = ""
    max_rows: int | None = None
    undeclared: Sequence[list[Any]] = ([[1, 2, 3, 4], [5.5, 6, 7, 8]],)
    failures_seen: Sequence[str] = PROTOCOLS

    @pytest.fixture(params=PROTOCOLS)
    def protocol(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def echoed(self, protocol: str) -> Mapping[str, str]:
        """The inputs of the model ``echo``, and their dtypes."""
        return {name: name for name in DTYPES}

    def echo(self, uri: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        """What ``echo`` answers two rows, by the names of the inputs."""
        outputs: Mapping[str, Any] = predict(uri, inputs, 2).outputs
        return outputs

    def test_metadata(self, server: OipServer, protocol: str) -> None:
        found = metadata(server.uri(protocol, "half"))
        spec = TensorSpec("float32", (-1, 4))
        assert (found.model, found.version, found.max_rows) == ("half", self.described_version, self.max_rows)
        assert (found.signature.inputs, found.signature.outputs) == ({"x": spec}, {"y": spec})

    @pytest.mark.parametrize("model", ["half", "half/VERSION"])
    def test_predict_names_the_version_that_answered(self, server: OipServer, protocol: str, model: str) -> None:
        if model != "half" and not self.version:
            pytest.skip("the server has no versions")
        answer = predict(server.uri(protocol, model.replace("VERSION", self.version)), {"x": x_of(5)}, 5)
        np.testing.assert_array_equal(answer.outputs["y"], 0.5 * x_of(5) + 2)
        assert answer.outputs["y"].dtype == np.float32
        assert answer.version == self.version

    def test_every_dtype_both_ways(self, server: OipServer, protocol: str) -> None:
        inputs: dict[str, np.ndarray] = {}
        for name, dtype in self.echoed(protocol).items():
            inputs[name] = np.array([[0, 1], [1, 0]], dtype)
            if inputs[name].dtype.kind in "iu":
                inputs[name][0] = np.iinfo(dtype).min, np.iinfo(dtype).max
        outputs = self.echo(server.uri(protocol, "echo"), inputs)
        assert sorted(outputs) == sorted(inputs)
        for name, sent in inputs.items():
            assert outputs[name].dtype == sent.dtype
            np.testing.assert_array_equal(outputs[name], sent, err_msg=name)

    def test_a_model_without_declared_inputs(self, server: OipServer, protocol: str) -> None:
        uri = server.uri(protocol, "undeclared")
        assert not metadata(uri).signature.known
        for records in self.undeclared:
            column = np.fromiter(records, dtype=object, count=2)
            assert predict(uri, {"instances": column}, 2).outputs["y"].tolist() == [[2.5, 3, 3.5, 4], [4.75, 5, 5.5, 6]]

    def test_only_the_poison_row_fails(self, server: OipServer, protocol: str) -> None:
        """The model's exception comes as 500 and INTERNAL: retried until the deadline, then bisected."""
        x = x_of(16)
        x[11, 2] = POISON
        assert dispatched(server.uri(protocol, "half"), x) == expected(x, {11: "ServerError"})

    def test_a_model_that_fails_is_told_from_an_outage(self, server: OipServer, protocol: str) -> None:
        """So a lone row fails, too, with none beside it to probe with."""
        if protocol not in self.failures_seen:
            pytest.skip("its answers do not say that the model failed")
        x = x_of(16)
        x[11, 2] = POISON
        for rows in (x, x[11:12]):
            error = error_of(server.uri(protocol, "half"), {"x": rows}, len(rows))
            assert isinstance(error, ModelFailedError)
        assert dispatched(server.uri(protocol, "half"), x[11:12]) == ["ServerError"]

    def test_many_requests_at_once(self, server: OipServer, protocol: str) -> None:
        async def work(client: ModelClient) -> list[Any]:
            return await asyncio.gather(
                *(client.predict({"x": np.full((1 + n % 16, 4), n, np.float32)}, 1 + n % 16, TIMEOUT_S) for n in range(60))
            )

        for n, answer in enumerate(use(server.uri(protocol, "half"), work)):
            np.testing.assert_array_equal(answer.outputs["y"], np.full((1 + n % 16, 4), 0.5 * n + 2, np.float32))
