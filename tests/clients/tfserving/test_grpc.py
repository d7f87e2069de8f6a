"""What the contract leaves to gRPC: Classify and Regress, trailers, sizes, a process killed, a wrong port."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.tfserving import messages
from transforms.clients.wire.rpc_status import RetryInfo, RpcStatus
from transforms.clients.wire.tensorflow.example import build_example, parse_example
from transforms.errors import (
    AnswerTooLargeError,
    MalformedAnswerError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.testing.grpc_stub import service_handlers
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, TensorSpec

TIMEOUT_S = 20.0
EXAMPLES = {"examples": np.array([build_example({"x": [float(n)]}) for n in range(3)], dtype=object)}
ONE_ROW = {"x": np.zeros((1, 2), np.float32)}


@pytest.fixture
def stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        yield stub


def use(uri: str, work: Callable[[ModelClient], Awaitable[Any]], options: ClientOptions | None = None) -> Any:
    async def run() -> Any:
        async with open_client(uri, options) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def classes(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """One class for the first record, two for the second, and so on, named by the number in the record."""
    numbers = [parse_example(record)["x"][0] for record in inputs["examples"]]
    return {
        "classes": [[f"{number:g}.{k}" for k in range(1 + row)] for row, number in enumerate(numbers)],
        "scores": [[number + k for k in range(1 + row)] for row, number in enumerate(numbers)],
    }


def values(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"value": np.array([2 * parse_example(record)["x"][0] for record in inputs["examples"]], np.float32)}


STRING = {"inputs": TensorSpec("string", (-1,))}


def test_classify_takes_examples_and_answers_lists(stub: TfServingGrpcStub) -> None:
    stub.model = StubModel.of(STRING, {}, classes, METHOD_CLASSIFY)
    answer = use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S))
    assert answer.outputs["classes"] == [["0.0"], ["1.0", "1.1"], ["2.0", "2.1", "2.2"]]
    assert answer.outputs["scores"] == [[0], [1, 2], [2, 3, 4]]
    assert answer.version == "1"


def test_regress_takes_examples_and_answers_values(stub: TfServingGrpcStub) -> None:
    stub.model = StubModel.of(STRING, {}, values, METHOD_REGRESS)
    answer = use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S))
    assert answer.outputs["value"].tolist() == [0, 2, 4]
    assert answer.outputs["value"].dtype == np.float32


@pytest.mark.parametrize("method", [METHOD_CLASSIFY, METHOD_REGRESS])
@pytest.mark.parametrize("kind", ["short", "long", "no_outputs", "malformed"])
def test_examples_answered_by_another_count(stub: TfServingGrpcStub, method: str, kind: Any) -> None:
    stub.model = StubModel.of(STRING, {}, classes if method == METHOD_CLASSIFY else values, method)
    stub.faults.answer_next(1, kind)
    with pytest.raises(MalformedAnswerError):
        use(stub.uri(), lambda client: client.predict(EXAMPLES, 3, TIMEOUT_S))


def answering(
    handler: Callable[[bytes, Any], Awaitable[bytes]], work: Callable[[str], Awaitable[None]], **options: Any
) -> None:
    """Runs ``work`` with the URI of a server whose Predict is ``handler``."""

    async def run() -> None:
        server = grpc.aio.server(**options)
        server.add_generic_rpc_handlers(service_handlers({messages.PREDICT: handler}))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await work(f"grpc://127.0.0.1:{port}/model")
        finally:
            await server.stop(None)

    asyncio.run(run())


def retry_info(seconds: int, nanos: int) -> bytes:
    status = RpcStatus(code=14, message="busy")
    status.details.add(type_url="type.googleapis.com/google.rpc.DebugInfo", value=b"\x12\x01x")
    info = RetryInfo(retry_delay={"seconds": seconds, "nanos": nanos})
    status.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())
    return bytes(status.SerializeToString())


@pytest.mark.parametrize(
    ("trailer", "expected"),
    [
        (("grpc-status-details-bin", retry_info(2, 500_000_000)), 2.5),
        (("grpc-retry-pushback-ms", "1500"), 1.5),
        (("grpc-retry-pushback-ms", "-1"), None),  # gRFC A6: do not retry by yourself; how long is not said
        (("grpc-retry-pushback-ms", "soon"), None),
        (("grpc-retry-pushback-ms", "9" * 400), None),
        (("grpc-status-details-bin", b"\xff\xff"), None),
    ],
)
def test_how_long_to_wait(trailer: tuple[str, Any], expected: float | None) -> None:
    async def refuse(body: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "busy", (trailer,))
        return b""

    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.predict(ONE_ROW, 1, TIMEOUT_S)
            assert caught.value.retry_after_s == expected

    answering(refuse, work)


def test_a_message_too_large_for_the_server_is_rejected() -> None:
    """It never gets through: halve the batch rather than try again."""

    async def never(body: bytes, context: Any) -> bytes:
        raise AssertionError("gRPC refuses before the handler")

    async def work(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(RejectedError, match="larger than max"):
                await client.predict({"x": np.zeros((2, 5000), np.float32)}, 2, TIMEOUT_S)

    answering(never, work, options=[("grpc.max_receive_message_length", 10_000)])


def test_messages_beyond_grpcs_default_of_4_mb(stub: TfServingGrpcStub) -> None:
    x = np.arange(2 * 10**6, dtype=np.float32).reshape(2, -1)  # 8 MB
    answer = use(stub.uri(), lambda client: client.predict({"x": x}, 2, TIMEOUT_S))
    np.testing.assert_array_equal(answer.outputs["y"], np.float32(0.5) * x + np.float32(2))


def test_channel_options_of_the_user_win(stub: TfServingGrpcStub) -> None:
    options = ClientOptions(channel_options=(("grpc.max_receive_message_length", 10_000),))
    x = {"x": np.zeros((2, 5000), np.float32)}
    with pytest.raises(AnswerTooLargeError, match="larger than max"):
        use(stub.uri(), lambda client: client.predict(x, 2, TIMEOUT_S), options)


def test_an_answer_without_batch_dimension_for_one_row_is_that_row(stub: TfServingGrpcStub) -> None:
    stub.faults.answer_next(1, "scalar")
    answer = use(stub.uri(), lambda client: client.predict(ONE_ROW, 1, TIMEOUT_S))
    assert answer.outputs["y"].tolist() == [2]


def test_a_signature_without_batch_dimension_answers_whole_tensors(stub: TfServingGrpcStub) -> None:
    scalar, vector = TensorSpec("float32", ()), TensorSpec("float32", (2,))
    stub.model = StubModel.of({"x": scalar}, {"y": vector}, lambda i: {"y": np.array([i["x"], 1], np.float32)})
    answer = use(stub.uri(), lambda client: client.predict({"x": np.array(5, np.float32)}, 1, TIMEOUT_S))
    assert answer.outputs["y"].tolist() == [[5, 1]]


@pytest.mark.parametrize(
    ("answered", "fits"), [(np.float64, True), (np.int32, True), (np.bool_, True), (np.complex64, False)]
)
def test_a_dtype_other_than_declared(stub: TfServingGrpcStub, answered: Any, fits: bool) -> None:
    """Another width of number is passed on as it came; another kind of value is no answer to this question."""
    spec = {"y": TensorSpec("float32", (-1,))}
    stub.model = StubModel.of({"x": TensorSpec("float32", (-1,))}, spec, lambda i: {"y": i["x"].astype(answered)})
    request = {"x": np.ones(1, np.float32)}
    if fits:
        assert use(stub.uri(), lambda client: client.predict(request, 1, TIMEOUT_S)).outputs["y"].dtype == answered
        return
    with pytest.raises(MalformedAnswerError, match="output y came as complex64, but the signature declares float32"):
        use(stub.uri(), lambda client: client.predict(request, 1, TIMEOUT_S))


def test_classify_without_the_signature_is_not_served(stub: TfServingGrpcStub) -> None:
    """TensorFlow Serving calls it INVALID_ARGUMENT, but no other batch would fare better."""
    stub.model = StubModel.of(STRING, {}, classes, METHOD_CLASSIFY)

    async def work(client: ModelClient) -> None:
        stub.model.signatures = {}
        with pytest.raises(NotServedError, match="No signature was found"):
            await client.predict(EXAMPLES, 3, TIMEOUT_S)

    use(stub.uri(), work)


def test_the_rest_port_is_told_apart() -> None:
    async def run(uri: str) -> None:
        async with open_client(uri) as client:
            with pytest.raises(NotServedError, match="use http://"):
                await client.metadata(TIMEOUT_S)

    with TfServingRestStub() as rest:
        asyncio.run(run(f"grpc://{rest.address}/model"))


def test_a_server_process_killed_during_a_request() -> None:
    """kill -9 is how a server really goes; also the command-line entry of the stub."""
    module = "transforms.testing.tfserving.grpc_stub"
    command = [sys.executable, "-m", module, "--latency_ms", "20000", "--fast", "--width", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            uri = f"grpc://127.0.0.1:{int(process.stdout.readline())}/model"

            async def work(client: ModelClient) -> None:
                with pytest.raises(TransientError, match="DEADLINE_EXCEEDED"):  # it is under way on the server
                    await client.predict(ONE_ROW, 1, 0.05)
                request = asyncio.create_task(client.predict(ONE_ROW, 1, TIMEOUT_S))
                await asyncio.sleep(0)
                process.kill()
                with pytest.raises(UnavailableError):
                    await request

            use(uri, work)
        finally:
            process.kill()


def test_the_fast_stub_answers_row_sums_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "transforms.testing.tfserving.grpc_stub", "--fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            uri = f"grpc://127.0.0.1:{int(process.stdout.readline())}/model"
            x = np.arange(8, dtype=np.float32).reshape(2, 4)
            answer = use(uri, lambda client: client.predict({"x": x}, 2, TIMEOUT_S))
            assert answer.outputs["y"].tolist() == [6, 22]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
