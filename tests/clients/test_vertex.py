"""What the contract leaves to Vertex AI: limits, parameters, error bodies, quota, and its kinds of endpoints."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.clients.test_tfserving_grpc import ONE_ROW, TIMEOUT_S
from tests.clients.test_vertex_values import objects
from transforms.batching import Batch, Part, PendingChunk
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.vertex_errors import from_body
from transforms.dispatch import Dispatcher, DispatchOptions
from transforms.encode import Encoder
from transforms.errors import (
    ModelError,
    NotServedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)
from transforms.testing.stub_model import StubModel
from transforms.testing.vertex_grpc_stub import VertexGrpcStub
from transforms.testing.vertex_rest_stub import VertexRestStub
from transforms.testing.vertex_stub import VertexStub
from transforms.types import METHOD_PREDICT, DecodedChunk, Headers, KafkaRecord, Segment, Signature

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
UNKNOWN = Signature("", METHOD_PREDICT, {}, {}, known=False)

both = pytest.mark.parametrize("stub_class", [VertexGrpcStub, VertexRestStub])


def use(uri: str, work: Callable[[ModelClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_client(uri) as client:
            return await work(client)

    return asyncio.run(run())


def predict(uri: str, *instances: Any) -> Any:
    return use(uri, lambda client: client.predict({"instances": objects(*instances)}, len(instances), TIMEOUT_S))


def echo() -> StubModel:
    """Answers the instances themselves."""
    return StubModel.of({}, {}, lambda inputs: {"same": list(inputs["instances"])})


# ---- instances, parameters, predictions


@both
def test_instances_and_predictions_of_any_form(stub_class: type[VertexStub]) -> None:
    sent = [{"a": [1, 2.5], "b": {"c": None}}, [True, "text"], 0.1, "ä€", {"image": {"b64": "/w=="}}]
    with stub_class(echo()) as stub:
        assert list(predict(stub.uri(), *sent).outputs["predictions"]) == sent
        assert stub.last_instances == sent


@both
def test_predictions_that_are_objects_become_outputs_by_name(stub_class: type[VertexStub]) -> None:
    with stub_class(echo()) as stub:
        answer = predict(stub.uri(), {"label": "cat", "scores": [0.5, 1]}, {"scores": [0, 0.25], "label": "dog"})
        assert answer.outputs == {"label": ["cat", "dog"], "scores": [[0.5, 1], [0, 0.25]]}
        answer = predict(stub.uri(), {"label": "cat"}, {"other": 1})  # not alike: whole
        assert answer.outputs == {"predictions": [{"label": "cat"}, {"other": 1}]}


@both
def test_parameters_go_with_every_request(stub_class: type[VertexStub]) -> None:
    parameters = {"confidenceThreshold": 0.5, "maxPredictions": 3, "words": ["ä", None], "deep": {"x": True}}
    with stub_class(echo()) as stub:
        predict(stub.uri(), 1)
        assert stub.last_parameters is None
        predict(f"{stub.uri()}&parameters={quote(json.dumps(parameters))}", 1)
        assert stub.last_parameters == parameters


@both
def test_which_model_answered_stands_on_each_prediction(stub_class: type[VertexStub]) -> None:
    """Through the dispatcher and the encoder, to the headers; those of an earlier Vertex AI pipeline are replaced."""
    earlier: Headers = [("inference.deployed_model", b"old"), ("mine", b"kept")]
    records = [KafkaRecord("in", 0, offset, 0, None, b"%d" % offset, earlier) for offset in range(3)]

    async def run(stub: VertexStub) -> list[dict[str, bytes | None]]:
        dispatcher = Dispatcher(open_client(stub.uri()), UNKNOWN, DispatchOptions())
        segment = Segment("key", range(3), {"instances": objects(0, 1, 2)})
        pending = PendingChunk.of(DecodedChunk(records, [segment], {}))
        batch = Batch([Part(pending, segment.rows, segment.tensors)], 3)
        batch.outcomes = await dispatcher.answer(batch.inputs(), 3)
        await dispatcher.close()
        batch.settle()
        written = Encoder("out", "dlq", "1234").encode(pending.chunk)
        assert all(len({name for name, _ in record.headers}) == len(record.headers) for record in written)
        return [dict(record.headers) for record in written]

    with stub_class(echo()) as stub:
        stub.model.versions, stub.deployed_model, stub.display_name = {7: "AVAILABLE"}, "42", "Hälfte"
        for headers in asyncio.run(run(stub)):
            assert headers["inference.model"] == b"1234"
            assert headers["inference.version"] == b"7"
            assert headers["inference.deployed_model"] == b"42"
            assert headers["inference.deployed_model_name"] == "Hälfte".encode()
            assert headers["mine"] == b"kept"


# ---- size limits


@both
def test_a_request_above_the_limit_is_never_sent(stub_class: type[VertexStub]) -> None:
    half = "x" * 800_000
    with stub_class(echo()) as stub:
        with pytest.raises(
            RequestTooLargeError, match=r"2 records make a request of 16\d{5} bytes, .* takes 1572864 at most"
        ):
            predict(stub.uri(), half, half)
        with pytest.raises(RequestTooLargeError, match="this record alone makes a request of"):
            predict(stub.uri(), half * 2)
        assert stub.faults.requests == 0
        assert list(predict(stub.uri(), half).outputs["predictions"]) == [half]


@both
def test_a_dedicated_endpoint_takes_more(stub_class: type[VertexStub]) -> None:
    with stub_class(echo()) as stub:
        stub.max_request_bytes = 10_000_000
        uri = stub.uri().replace("api_endpoint=", "dedicated=")
        assert len(predict(uri, "x" * 4_000_000, "y" * 4_000_000).outputs["predictions"]) == 2
        with pytest.raises(RequestTooLargeError, match="takes 10000000 at most"):
            predict(uri, "x" * 10_000_000)


def test_grpc_tells_a_dedicated_endpoint_which_one_is_meant() -> None:
    with VertexGrpcStub(echo()) as stub:
        predict(stub.uri().replace("api_endpoint=", "dedicated="), 1)
        assert ("x-vertex-ai-endpoint-id", "model") in stub.faults.last_headers
        predict(stub.uri(), 1)
        assert "x-vertex-ai-endpoint-id" not in dict(stub.faults.last_headers)


@both
def test_a_batch_above_the_limit_is_split_and_a_record_above_it_a_dead_letter(stub_class: type[VertexStub]) -> None:
    instances = [f"{index:02}" + "x" * 100_000 for index in range(40)]
    instances[17] = "y" * 1_600_000

    async def run(stub: VertexStub) -> list[Any]:
        dispatcher = Dispatcher(open_client(stub.uri()), UNKNOWN, DispatchOptions())
        outcomes = await dispatcher.answer({"instances": objects(*instances)}, len(instances))
        await dispatcher.close()
        return sorted(outcomes, key=lambda outcome: outcome.start)

    with stub_class(echo()) as stub:
        outcomes = asyncio.run(run(stub))
    (failed,) = [outcome for outcome in outcomes if outcome.failure is not None]
    assert (failed.start, failed.rows, failed.failure.error_class) == (17, 1, "Rejected")
    assert "this record alone makes a request of 16" in failed.failure.message
    answered = {o.start + i: text for o in outcomes if o.outputs for i, text in enumerate(o.outputs["predictions"])}
    assert answered == {index: text for index, text in enumerate(instances) if index != 17}
    assert sum(stub.faults.batch_sizes) == 39  # each sent once, by the halves that fit


# ---- errors


@both
@pytest.mark.parametrize(
    ("code", "text", "error", "told"),
    [
        ("FAILED_PRECONDITION", "container: could not parse the instance", RejectedError, "could not parse"),
        ("FAILED_PRECONDITION", "Model 1 is not deployed to the endpoint", NotServedError, "not deployed"),
        ("ABORTED", "try again", TransientError, "ABORTED"),
        ("DATA_LOSS", "try again", TransientError, "DATA_LOSS"),
        ("PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied", NotServedError, r"roles/aiplatform\.user"),
        ("RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model",
         TransientError, "Quota exceeded"),
    ],
)  # fmt: skip
def test_statuses(stub_class: type[VertexStub], code: str, text: str, error: type[ModelError], told: str) -> None:
    with stub_class(echo()) as stub:
        stub.faults.fail_next(1, code, text)
        with pytest.raises(error, match=told) as caught:
            predict(stub.uri(), 1)
        assert type(caught.value) is error


@both
def test_quota_says_how_long_to_wait(stub_class: type[VertexStub]) -> None:
    with stub_class(echo()) as stub:
        stub.faults.fail_next(1, "RESOURCE_EXHAUSTED", "Quota exceeded", retry_after_s=2.5)
        with pytest.raises(TransientError) as caught:
            predict(stub.uri(), 1)
        assert caught.value.retry_after_s == 2.5


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAVAILABLE"])
def test_a_refusal_of_many_words_over_grpc(code: str) -> None:
    """Message and details are headers to gRPC: above 8 kB of them it made another error of it, now and then."""
    with VertexGrpcStub(echo()) as stub:
        stub.faults.fail_next(20, code, "the reason: " + "y" * 50_000)
        for _ in range(20):
            with pytest.raises(ModelError, match=f"{code}: the reason"):
                predict(stub.uri(), 1)


def test_details_that_contradict_the_status() -> None:
    with VertexGrpcStub(echo()) as stub:
        stub.status_in_details = 13
        stub.faults.fail_next(1, "RESOURCE_EXHAUSTED", "Quota exceeded", retry_after_s=2)
        with pytest.raises(TransientError, match="Quota exceeded") as caught:
            predict(stub.uri(), 1)
        assert caught.value.retry_after_s == 2


@pytest.mark.parametrize(
    ("told", "error", "retry_after_s"),
    [
        ("Prediction failed: bad instance", RejectedError, None),
        ({"message": "bad", "status": "INVALID_ARGUMENT"}, RejectedError, None),
        ({"code": 429, "message": "Quota exceeded"}, TransientError, None),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded",
          "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "3s"}]}, TransientError, 3.0),
        ({"code": 503, "message": "overloaded"}, UnavailableError, None),
    ],
)  # fmt: skip
def test_an_error_for_the_batch_in_an_answer_of_200(told: Any, error: type[ModelError], retry_after_s: float | None) -> None:
    with VertexRestStub(echo()) as stub:
        stub.error_in_200 = told
        with pytest.raises(error) as caught:
            predict(stub.uri(), 1)
        assert type(caught.value) is error
        assert getattr(caught.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize(
    ("document", "code", "retry_after_s"),
    [
        (None, "UNAVAILABLE", 9.0),
        ({}, "UNAVAILABLE", 9.0),
        ([1], "UNAVAILABLE", 9.0),
        ({"error": None}, "UNAVAILABLE", 9.0),
        ({"error": "container is busy"}, "UNAVAILABLE", 9.0),
        ({"error": {"status": "NEW_STATUS"}}, "UNAVAILABLE", 9.0),
        ({"error": {"code": "503", "details": [3, {"@type": 1}]}}, "UNAVAILABLE", 9.0),
        ({"error": {"code": 404, "details": 5}}, "NOT_FOUND", 9.0),
        ({"error": {"status": ["odd"], "details": {"@type": "x"}}}, "UNAVAILABLE", 9.0),
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "0.25s"}]}}, "UNAVAILABLE", 0.25),
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "soon"}]}}, "UNAVAILABLE", 9.0),
        ({"error": {"details": [{"@type": "x/google.rpc.Help", "retryDelay": "1s"}]}}, "UNAVAILABLE", 9.0),
    ],
)
def test_error_bodies_of_any_form(document: Any, code: str, retry_after_s: float) -> None:
    refusal = from_body(503, document, "text", 9.0)
    assert (refusal.code, refusal.retry_after_s) == (code, retry_after_s)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, NotServedError),
        (400, RejectedError),
        (401, NotServedError),
        (403, NotServedError),
        (404, NotServedError),
        (405, NotServedError),
        (408, TransientError),
        (413, RejectedError),
        (429, TransientError),
        (500, TransientError),
        (501, NotServedError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, TransientError),
    ],
)
def test_answers_of_a_gateway_or_a_private_container(status: int, error: type[ModelError]) -> None:
    """HTML, or JSON of another form: the HTTP status alone counts, Retry-After included."""
    headers = {"Location": "/elsewhere", "Retry-After": "4"}
    for body in (b"<html>the\nreason</html>", b'{"error": "the reason"}'):
        caught = error_of(web.Response(status=status, body=body, headers=headers))
        assert type(caught) is error
        assert f"HTTP {status}" in str(caught)
        assert "reason" in str(caught)
        assert getattr(caught, "retry_after_s", 4) == 4


@pytest.mark.parametrize(
    ("body", "error", "of_metadata"),
    [
        (b"", "MalformedAnswerError", "NotServedError"),
        (b"hello", "MalformedAnswerError", "NotServedError"),
        (b"[1]", "MalformedAnswerError", "NotServedError"),
        (b"{}", "MalformedAnswerError", "NotServedError"),
        (b'{"predictions": 1}', "MalformedAnswerError", "NotServedError"),
    ],
)
def test_answers_that_are_none(body: bytes, error: str, of_metadata: str) -> None:
    assert type(error_of(web.Response(body=body))).__name__ == error
    caught = error_of(web.Response(body=body), metadata=True)
    assert type(caught).__name__ == of_metadata
    assert "is it Vertex AI's API?" in str(caught)


def error_of(response: web.Response, metadata: bool = False) -> ModelError:
    """What a client raises from a server that answers everything with ``response``."""

    async def run() -> ModelError:
        async def handle(request: web.Request) -> web.StreamResponse:
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        uri = f"vertex://p/r/e?transport=rest&api_endpoint=127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with open_client(uri) as client:
                with pytest.raises(ModelError) as caught:
                    await (client.metadata(TIMEOUT_S) if metadata else client.predict(ONE_ROW, 1, TIMEOUT_S))
                return caught.value
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_the_transports_are_told_apart() -> None:
    async def metadata(client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    with VertexRestStub() as rest, pytest.raises(NotServedError, match="use &transport=rest"):
        use(rest.uri().replace("transport=rest", "transport=grpc"), metadata)
    with VertexGrpcStub() as grpc, pytest.raises((NotServedError, UnavailableError)):
        use(grpc.uri().replace("transport=grpc", "transport=rest"), metadata)


# ---- is the endpoint there?


@both
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INTERNAL", None),
        ("UNKNOWN", None),
        ("OUT_OF_RANGE", None),
        ("UNIMPLEMENTED", NotServedError),
        ("ALREADY_EXISTS", NotServedError),
        ("RESOURCE_EXHAUSTED", UnavailableError),
        ("DEADLINE_EXCEEDED", UnavailableError),
    ],
)
def test_a_container_may_break_on_no_instances(
    stub_class: type[VertexStub], code: str, error: type[ModelError] | None
) -> None:
    async def metadata(client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    with stub_class() as stub:
        stub.answer_to_none = code
        if error is None:
            assert use(stub.uri(), metadata).model == "model"
        else:
            with pytest.raises(error) as caught:
                use(stub.uri(), metadata)
            assert type(caught.value) is error


@both
def test_a_container_that_answers_no_instances_tells_its_version(stub_class: type[VertexStub]) -> None:
    async def metadata(client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    with stub_class() as stub:
        stub.answer_to_none = None
        assert use(stub.uri(), metadata).version == "1"


def test_a_private_endpoint_is_called_by_its_own_url_and_without_credentials() -> None:
    with VertexRestStub() as stub:
        uri = f"vertex://project/europe-west4/model?private={quote(stub.private_url, safe='')}"
        answer = predict(uri, [1.0, 2], [3.0, 4])
        assert list(answer.outputs["predictions"]) == [[2.5, 3], [3.5, 4]]
        assert (answer.version, answer.headers) == ("", ())  # the container answers, which does not know
        assert "authorization" not in dict(stub.faults.last_headers)
        with pytest.raises(NotServedError):
            predict(uri.replace(stub.deployed_model, "43"), 1)


@pytest.mark.parametrize(("stub_class", "depth"), [(VertexGrpcStub, 60), (VertexRestStub, 300), (VertexRestStub, 600)])
def test_too_deeply_nested_is_the_records_fault(stub_class: type[VertexStub], depth: int) -> None:
    """Protobuf reads messages at most 100 deep, and a list in a list is two; orjson writes 254 lists in each other."""
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    with stub_class(echo()) as stub:
        with pytest.raises(RejectedError):
            predict(stub.uri(), deep)
        assert stub.faults.requests == 0


# ---- without the packages


@pytest.mark.parametrize("missing", ["google.cloud.aiplatform_v1", "google.auth"])
def test_a_missing_package_is_named_with_what_to_install(missing: str) -> None:
    script = f"""
import sys
sys.modules[{missing!r}] = None
from transforms.clients import check_uri, open_client
from transforms.errors import ConfigError
check_uri("vertex://p/r/e")
try:
    open_client("vertex://p/r/e")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    assert "pip install 'kafka-model-scoring[vertex]'" in done.stdout
    assert missing.rpartition(".")[0] in done.stdout
