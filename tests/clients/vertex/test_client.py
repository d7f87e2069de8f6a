"""What the contract leaves to Vertex AI: instances, parameters, limits and its kinds of endpoints."""

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

from tests.clients.tfserving.test_grpc import TIMEOUT_S
from tests.clients.vertex.test_values import objects
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.encode.encoder import Encoder
from transforms.errors import (
    ModelError,
    NotServedError,
    RejectedError,
    RequestTooLargeError,
    UnavailableError,
)
from transforms.predict.batching import Batch, Part, PendingChunk
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.testing.stub_model import StubModel
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import VertexStub
from transforms.types import METHOD_PREDICT, DecodedChunk, Headers, KafkaRecord, Segment, Signature

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
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
        batch.results = await dispatcher.answer(batch.inputs(), 3)
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
    assert sum(stub.faults.batch_sizes) == 40  # each sent once, by the halves that fit, and one row as the proof


# ---- is the endpoint there?


@both
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INTERNAL", None),
        ("UNKNOWN", None),
        ("OUT_OF_RANGE", None),
        ("UNIMPLEMENTED", NotServedError),
        ("ALREADY_EXISTS", UnavailableError),
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
