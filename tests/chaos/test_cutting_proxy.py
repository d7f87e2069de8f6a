"""Answers end in the middle: a client raises what it may ask again for, and the next answer is a whole one."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from tests.chaos.cutting_proxy import CuttingProxy
from transforms.clients.base import ClientOptions
from transforms.clients.registry import open_client
from transforms.errors import MalformedAnswerError, TransientError
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub

ROWS, CUTS = 16, 12
TIMEOUT_S = 30.0


@pytest.mark.parametrize("server", [TfServingGrpcStub, TfServingRestStub])
def test_each_cut_answer_fails_its_request(server: type[StubServer]) -> None:
    """At whatever byte it is cut, no part of it is taken for an answer; without cuts the proxy changes nothing."""

    async def run(uri: str, proxy: CuttingProxy) -> tuple[int, int]:
        client = open_client(uri, ClientOptions())
        inputs = {"x": np.arange(ROWS, dtype=np.float32)}
        failed = answered = 0
        try:
            await client.metadata(TIMEOUT_S)
            proxy.cut_next(CUTS)
            while answered < 3:
                try:
                    answer = await client.predict(inputs, ROWS, TIMEOUT_S)
                except (TransientError, MalformedAnswerError):
                    failed += 1
                    await asyncio.sleep(0.02)  # gRPC connects again after a pause
                else:
                    assert np.array_equal(answer.outputs["y"], 0.5 * inputs["x"] + 2)
                    answered += proxy.cuts == CUTS
        finally:
            await client.close()
        return failed, proxy.cuts

    with server() as stub, CuttingProxy(stub.address, random.Random(1)) as proxy:
        failed, cuts = asyncio.run(run(stub.uri().replace(stub.address, proxy.address), proxy))
    assert cuts == CUTS
    assert failed >= CUTS - 1, "one may be cut behind what its client needs"
