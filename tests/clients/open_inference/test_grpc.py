"""What the contract leaves to gRPC: typed contents, answers that contradict themselves, sizes, calls that are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.open_inference import messages
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.testing.grpc_stub import service_handlers
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec

TIMEOUT_S = 20.0
X = {"x": np.array([[1, 2], [3, 4]], np.float32)}
TYPED = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "string")


def use(uri: str, work: Callable[[ModelClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


@pytest.mark.parametrize("dtype", TYPED)
def test_typed_contents_are_read_too(dtype: str) -> None:
    spec = TensorSpec(dtype, (-1,))
    values = np.array([b"a", b"\xff"], object) if dtype == "string" else np.array([0, 1], dtype)
    with OipGrpcStub(StubModel.of({"x": spec}, {"y": spec}, lambda i: {"y": i["x"]})) as stub:
        stub.traits.typed = True
        output = use(stub.uri(), lambda client: client.predict({"x": values}, 2, TIMEOUT_S)).outputs["y"]
    assert output.dtype == values.dtype
    np.testing.assert_array_equal(output, values)


def test_an_optional_input_is_triton_s_default() -> None:
    spec = TensorSpec("float32", (-1,))
    model = StubModel.of({"x": spec, "bias": TensorSpec("float32", (-1,), has_default=True)}, {"y": spec}, dict)
    with OipGrpcStub(model) as stub:
        inputs = use(stub.uri(), lambda client: client.metadata(TIMEOUT_S)).signature.inputs
    assert {name: given.has_default for name, given in inputs.items()} == {"bias": True, "x": False}


def answering(calls: dict[str, Any], work: Callable[[str], Awaitable[None]], **options: Any) -> None:
    """Runs ``work`` with the URI of a server that answers each call with a message, or does what a function does."""

    def handler(answer: Any) -> Any:
        async def answer_with(body: bytes, context: Any) -> bytes:
            serialized: bytes = (await answer(context)) if callable(answer) else answer.SerializeToString()
            return serialized

        return answer_with

    async def run() -> None:
        server = grpc.aio.server(**options)
        server.add_generic_rpc_handlers(service_handlers({name: handler(answer) for name, answer in calls.items()}))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await work(f"oip+grpc://127.0.0.1:{port}/m")
        finally:
            await server.stop(None)

    asyncio.run(run())


def described(**more: Any) -> dict[str, Any]:
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    y = {"name": "y", "datatype": "FP32", "shape": [-1, 2]}
    return {
        messages.SERVER_METADATA: messages.ServerMetadataResponse(**more),
        messages.MODEL_METADATA: messages.ModelMetadataResponse(name="m", inputs=[x], outputs=[y]),
    }


def infer_response(raw: list[bytes], *outputs: dict[str, Any]) -> Any:
    return messages.ModelInferResponse(outputs=outputs, raw_output_contents=raw)


Y = {"name": "y", "datatype": "FP32", "shape": [2, 2]}


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (infer_response([b"\0" * 16, b""], Y), "2 raw contents for 1 outputs"),
        (infer_response([b"\0" * 12], Y), "12 bytes"),
        (infer_response([], Y), "0 values for a shape of"),
        (infer_response([], {**Y, "contents": {"fp32_contents": [1, 2, 3]}}), "3 values for a shape of"),
        (infer_response([b"\0" * 16], {**Y, "datatype": "FP99"}), "FP99 can't be read"),
        (infer_response([]), "no outputs"),
    ],
)
def test_answers_that_contradict_themselves(response: Any, problem: str) -> None:
    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            with pytest.raises(MalformedAnswerError, match=f"model m at .*{problem}"):
                await client.predict(X, 2, TIMEOUT_S)

    answering({**described(), messages.MODEL_INFER: response}, work)


def test_calls_that_a_server_lacks_or_has_closed() -> None:
    """ModelReady is UNIMPLEMENTED here, the configuration is closed: neither keeps a model from being used."""

    async def closed(context: Any) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "restricted")
        return b""

    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            metadata = await client.metadata(TIMEOUT_S)
            assert (metadata.version, metadata.max_rows) == ("", None)

    answering({**described(extensions=["model_configuration"]), messages.MODEL_CONFIG: closed}, work)


def test_another_service_behind_the_port() -> None:
    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(NotServedError, match="UNIMPLEMENTED"):
                await client.metadata(TIMEOUT_S)

    answering({"/other.Service/Call": messages.ServerMetadataResponse()}, work)


def test_metadata_that_can_not_be_read() -> None:
    async def garbage(context: Any) -> bytes:
        return b"\xff\xff"

    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(NotServedError, match=r"ModelMetadata can't be read .*is it the server's gRPC port"):
                await client.metadata(TIMEOUT_S)

    answering({**described(), messages.MODEL_METADATA: garbage}, work)


def test_a_message_too_large_for_the_server_is_rejected() -> None:
    """MLServer takes 4 MiB: halve the batch rather than try again."""

    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(RejectedError, match="larger than max"):
                await client.predict({"x": np.zeros((2, 5000), np.float32)}, 2, TIMEOUT_S)

    answering({messages.MODEL_INFER: infer_response([])}, work, options=[("grpc.max_receive_message_length", 10_000)])


def test_a_dtype_the_protocol_lacks_is_rejected() -> None:
    with OipGrpcStub() as stub, pytest.raises(RejectedError, match="complex64 has no datatype"):
        use(stub.uri(), lambda client: client.predict({"x": np.zeros((1, 2), np.complex64)}, 1, TIMEOUT_S))
