"""What the contract leaves to REST: JSON's gaps, answers of other forms, servers that say less, a connection after a 500."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError, TransientError, UnavailableError
from transforms.testing.http_stub import HttpStub
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub, OipJsonStub
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec

TIMEOUT_S = 20.0
X = {"x": np.array([[1, 2], [3, 4]], np.float32)}
FLOATS = TensorSpec("float32", (-1, 2))


@pytest.fixture
def stub() -> Iterator[OipJsonStub]:
    with OipJsonStub() as stub:
        yield stub


def use(uri: str, work: Callable[[ModelClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


class Scripted(HttpStub):
    """Answers each path with a status and a body; ``infer`` with ``answer``."""

    def __init__(self, answer: Any = None, **paths: tuple[int, Any]):
        super().__init__()
        shape = {"datatype": "FP32", "shape": [-1, 2]}
        declared = {"name": "m", "inputs": [{"name": "x", **shape}], "outputs": [{"name": "y", **shape}]}
        self.paths = {"server": (200, {"extensions": []}), "model": (200, declared), "ready": (200, ""), **paths}
        self.paths.setdefault("infer", (200, answer))

    def uri(self, *args: Any, **kwargs: Any) -> str:
        return f"oip+http://{self.address}/m"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = {"/v2": "server", "/v2/models/m": "model"}.get(request.path) or request.path.rpartition("/")[2]
        status, body = self.paths.get(name, (404, "Not Found"))
        return web.Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def tensor(data: Any, datatype: str = "FP32", shape: Any = (2, 2), **more: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "y", "shape": list(shape), "datatype": datatype, "data": data, **more}]}


def answered(answer: Any) -> Any:
    with Scripted(answer) as stub:
        return use(stub.uri(), lambda client: client.predict(X, 2, TIMEOUT_S)).outputs["y"]


# ---- JSON


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes_without_a_json_form_are_refused_at_the_start(stub: OipJsonStub, dtype: str) -> None:
    stub.model = StubModel.of({"x": TensorSpec(dtype, (-1,))}, {"y": FLOATS}, dict)
    with pytest.raises(NotServedError, match=rf"input x is {dtype}.*use oip\+grpc://"):
        use(stub.uri(), lambda client: client.metadata(TIMEOUT_S))


def test_text_goes_as_json_and_other_bytes_are_refused(stub: OipJsonStub) -> None:
    spec = TensorSpec("string", (-1,))
    stub.model = StubModel.of({"x": spec}, {"y": spec}, lambda i: {"y": i["x"]})
    text = {"x": np.array(["ä€\x00".encode(), b""], dtype=object)}
    answer = use(stub.uri(), lambda client: client.predict(text, 2, TIMEOUT_S))
    assert answer.outputs["y"].tolist() == ["ä€\x00".encode(), b""]
    other = {"x": np.array([b"\xff", b""], dtype=object)}
    with pytest.raises(RejectedError, match="not UTF-8"):
        use(stub.uri(), lambda client: client.predict(other, 2, TIMEOUT_S))


def test_null_for_not_a_number(stub: OipJsonStub) -> None:
    """MLServer and KServe write standard JSON: what was infinite there can't be told from NaN."""
    stub.traits.null_for_nan = True
    x = {"x": np.array([[1, np.nan], [np.inf, 2]], np.float32)}
    answer = use(stub.uri(), lambda client: client.predict(x, 2, TIMEOUT_S))
    np.testing.assert_array_equal(answer.outputs["y"], np.array([[2.5, np.nan], [np.nan, 3]], np.float32))


def test_binary_only_where_the_server_lists_it() -> None:
    """The same bytes both ways, but for a server that does not say so they would be an error."""
    with OipHttpStub() as stub:

        async def sent_as(client: ModelClient) -> dict[str, str]:
            await client.predict(X, 2, TIMEOUT_S)
            return dict(stub.faults.last_headers)

        assert "inference-header-content-length" in use(stub.uri(), sent_as)
        stub.traits.extensions = ("model_configuration",)
        assert "inference-header-content-length" not in use(stub.uri(), sent_as)


# ---- answers of other forms


def test_nested_data_and_parameters() -> None:
    assert answered(tensor([[1, 2], [3, 4]], parameters=None)).tolist() == [[1, 2], [3, 4]]


def test_bytes_in_base64_as_mlserver_writes_them() -> None:
    wrapped = tensor(["YWI=", "/w=="], "BYTES", [2], parameters={"content_type": "base64"})
    declared = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}], "outputs": []}
    with Scripted(wrapped, model=(200, declared)) as stub:
        answer = use(stub.uri(), lambda client: client.predict(X, 2, TIMEOUT_S))
    assert answer.outputs["y"].tolist() == [b"ab", b"\xff"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([], "no list of outputs"),
        ({"outputs": {}}, "no list of outputs"),
        ({"outputs": ["y"]}, "lacks its name"),
        ({"outputs": [{"name": "y", "datatype": "FP32"}]}, "lacks its name, datatype or shape"),
        (tensor([1, 2, 3, 4], shape=["2", 2]), "lacks its name, datatype or shape"),
        (tensor([1, 2, 3]), "3 values for a shape of"),
        (tensor([1, 2, 3, "4"]), "came with a string among"),
        (tensor(None), "no list"),
        (tensor([1, 2, 3, 4], parameters={"binary_data_size": 16}), "does not fit the body"),
        (tensor([1, 2, 3, 4], "INT8"), None),
        (tensor(["a"] * 4, "BYTES"), "came as string"),
        (tensor(["a"] * 4, "BYTES", parameters={"content_type": "base64"}), "base64, but it is not"),
        (b"{", "no JSON"),
    ],
)
def test_answers_that_can_be_read_or_not(answer: Any, problem: str | None) -> None:
    if problem is None:
        assert answered(answer).tolist() == [[1, 2], [3, 4]]
        return
    with pytest.raises(MalformedAnswerError, match=f"model m at .*{problem}"):
        answered(answer)


# ---- servers that say less, or something else


@pytest.mark.parametrize("server", [(404, "Not Found"), (200, "hello"), (200, {"extensions": None}), (405, "")])
def test_a_gateway_that_passes_on_only_the_models_paths(server: tuple[int, Any]) -> None:
    with Scripted(tensor([1, 2, 3, 4]), server=server) as stub:
        assert use(stub.uri(), lambda client: client.predict(X, 2, TIMEOUT_S)).version == ""


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        ({"ready": (200, {"name": "m", "ready": False})}, UnavailableError),
        ({"ready": (503, {"error": "not yet"})}, UnavailableError),
        ({"ready": (404, "Not Found")}, None),
        ({"ready": (403, "restricted")}, None),
        ({"server": (503, "")}, UnavailableError),
        ({"server": (500, "")}, UnavailableError),
        ({"server": (401, {"error": "no token"})}, NotServedError),
        ({"model": (403, {"error": "no token"})}, NotServedError),
        ({"model": (200, b"<html>")}, NotServedError),
        ({"model": (200, {"inputs": [{"name": "x"}]})}, NotServedError),
        ({"model": (200, [])}, NotServedError),
        ({"model": (400, {"error": "what?"})}, NotServedError),
        ({"server": (200, {"extensions": ["model_configuration"]}), "config": (403, "restricted")}, None),
        ({"server": (200, {"extensions": ["model_configuration"]}), "config": (200, [])}, None),
    ],
)
def test_metadata_of_all_kinds(paths: dict[str, Any], error: type[Exception] | None) -> None:
    with Scripted(tensor([1, 2, 3, 4]), **paths) as stub, contextlib.ExitStack() as stack:
        if error is not None:
            stack.enter_context(pytest.raises(error, match="model m at"))
        assert use(stub.uri(), lambda client: client.metadata(TIMEOUT_S)).max_rows is None


def test_the_grpc_port_and_the_rest_port_are_told_apart() -> None:
    with OipHttpStub() as rest, pytest.raises(NotServedError, match=r"use oip\+http://"):
        use(f"oip+grpc://{rest.address}/model", lambda client: client.metadata(TIMEOUT_S))
    with OipGrpcStub() as rpc, pytest.raises((NotServedError, UnavailableError)):
        use(f"oip+http://{rpc.address}/model", lambda client: client.metadata(TIMEOUT_S))


# ---- the connection


async def crash(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a GET with ``{}``, and a POST with 500 and then, a moment later, the end of the connection."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"POST"):
                (length,) = (int(n) for n in re.findall(rb"(?i)content-length: (\d+)", head))
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops")
                await writer.drain()
                await asyncio.sleep(0.01)
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def test_a_connection_that_the_server_closes_behind_a_500() -> None:
    """Uvicorn's way, without a "Connection: close". The next request must not go to it: it is the caller's probe."""

    async def run() -> None:
        handlers: list[asyncio.Task[None]] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.append(asyncio.create_task(crash(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with open_client(f"oip+http://127.0.0.1:{port}/m") as client:
            await client.metadata(TIMEOUT_S)
            for _ in range(3):
                with pytest.raises(TransientError, match="HTTP 500: oops"):
                    await client.predict(X, 2, TIMEOUT_S)
        server.close()
        await asyncio.gather(*handlers)

    asyncio.run(run())
