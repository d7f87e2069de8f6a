"""Hostile answers to the question what model is there: a usable description or one clear error, in bounded time.

The transports are ``test_http.py``'s and ``test_grpc.py``'s; here the documents come from memory, so that there can be many.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
import grpc
import pytest
import yarl

from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.clients.checked import MAX_RANK, MAX_ROW_VALUES, MAX_TENSORS, ask_metadata
from transforms.clients.open_inference import messages as oip
from transforms.clients.tfserving import messages as tfs
from transforms.clients.wire.metadata_errors import MAX_METADATA_BYTES
from transforms.clients.wire.tensorflow.messages import SignatureDefMap
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError, ModelError, NotServedError
from transforms.predict.contract import difference
from transforms.predict.probes import _zeros
from transforms.types import ModelMetadata

TFS_REST, OIP_REST = "http://h:1/v1/models/m", "oip+http://h:1/m"
MMS, VERTEX = "mms+http://h:1/m", "vertex://p/europe-west4/1?transport=rest&api_endpoint=127.0.0.1:1"
OPENAI, MLFLOW = "openai+http://h:1/m?task=embeddings", "mlflow+http://h:1/m?form=dataframe_records"
TFS_GRPC, OIP_GRPC = "grpc://h:1/m", "oip+grpc://h:1/m"

_SPEC = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2"}], "unknown_rank": False}}
_SIDES = {"inputs": {"x": _SPEC}, "outputs": {"y": _SPEC}, "method_name": "tensorflow/serving/predict", "defaults": {}}
_TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
DOCUMENTS: dict[str, dict[str, Any]] = {
    TFS_REST: {
        "/metadata": {
            "model_spec": {"name": "m", "signature_name": "", "version": "1"},
            "metadata": {"signature_def": {"signature_def": {"serving_default": _SIDES}}},
        }
    },
    OIP_REST: {
        "/v2": {"name": "s", "version": "1", "extensions": ["model_configuration", "binary_tensor_data"]},
        "/m": {"name": "m", "versions": ["1", "2"], "platform": "x", "inputs": [_TENSOR], "outputs": [_TENSOR]},
        "/config": {"max_batch_size": 8, "input": [{"name": "x", "optional": False}]},
        "/ready": {"ready": True},
    },
    MMS: {
        "/ping": {"status": "Healthy"},
        "/m": [{"modelName": "m", "modelVersion": "1.0", "workers": [{"id": "9000", "status": "READY"}]}],
    },
    OPENAI: {
        "/models": {"object": "list", "data": [{"id": "m", "object": "model"}]},
        "/embeddings": {"data": [{"index": 0, "embedding": [0.5, 1]}], "model": "m-1", "usage": {"prompt_tokens": 1}},
    },
    MLFLOW: {"/ping": {}, "/version": "3.17.2"},
    VERTEX: {"": {"predictions": [], "deployedModelId": "7", "model": "m", "modelVersionId": "1", "modelDisplayName": "M"}},
}
"""The answers by the end of the path, as well-meaning servers give them; the empty end fits all."""

VALUES: list[Any] = [
    None, True, 0, -1, -7, 1.5, 1e400, 10**30, 1 << 62, "", "-1", "9" * 5000, "٣",
    "x\ud800", "\udc80", "\x1b[31m\x00\r\n\u202e", "x" * 100_000, [], {}, [[]], {"": {}}, [None], [{}],
    [-1] * 40, [1 << 40, 1 << 40], {"\ud800": 1}, {"x": "\ud800"},
]  # fmt: skip
"""What comes in the place of each part of those answers."""


class Response:
    """What is used of aiohttp's: the answer to a request that was never sent."""

    headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
    reason = ""

    def __init__(self, body: bytes | None):
        self.status, self._body, self.content = (404 if body is None else 200), body or b"", self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def answers(monkeypatch: pytest.MonkeyPatch, bodies: Mapping[str, bytes]) -> None:
    """Has aiohttp answer from memory: a body by the end of the URL's path, else 404."""

    async def request(session: aiohttp.ClientSession, method: str, url: yarl.URL, **more: object) -> Response:
        ends = sorted(bodies, key=len, reverse=True)
        return Response(next((bodies[end] for end in ends if url.path.endswith(end)), None))

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)


class Channel:
    """What is used of gRPC's: the answers to calls that are never sent."""

    def __init__(self, bodies: Mapping[str, bytes]):
        self._bodies = bodies

    def unary_unary(self, method: str) -> Callable[..., Awaitable[bytes]]:
        async def call(request: bytes, **more: object) -> bytes:
            return self._bodies[method]

        return call

    async def close(self) -> None:
        pass


def calls(monkeypatch: pytest.MonkeyPatch, bodies: Mapping[str, bytes]) -> None:
    """Has gRPC answer from memory: a message by the method."""
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda target, options: Channel(bodies))


def ask(uri: str) -> ModelMetadata | ModelError:
    """The description of a model, or the error; neither may harm who uses it."""

    async def run() -> ModelMetadata:
        async with open_client(uri, ClientOptions(headers=(("authorization", "Bearer x"),))) as client:
            return await ask_metadata(client, 5.0)

    try:
        found = asyncio.run(run())
    except ModelError as error:
        refused = error
    else:
        use(found)
        return found
    assert len(str(refused)) < 1500
    return refused


def use(found: ModelMetadata) -> None:
    """What the job makes of it before the first record."""
    assert found.version.isprintable()
    assert len(found.version) < 200
    signature = found.signature
    difference(signature, signature)
    _zeros(signature)
    for text in (found.model, *signature.inputs, *signature.outputs):
        text.encode()
    for input_format in ("auto", "npy"):
        with contextlib.suppress(ContractError):  # says that this format does not fit, and exit status 2
            Decoder(signature, input_format).decode([])


def changed(document: Any) -> Iterator[Any]:
    """Every document in which one part is another value, missing or there twice."""
    yield from VALUES
    parts = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, part in list(parts):
        for other in changed(part):
            copied = copy.copy(document)
            copied[key] = other
            yield copied
        copied = copy.copy(document)
        del copied[key]
        yield copied
    if isinstance(document, list):
        yield document * 2


@pytest.mark.parametrize("uri", DOCUMENTS)
def test_any_part_may_be_anything(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = {end: json.dumps(document).encode() for end, document in DOCUMENTS[uri].items()}
    answers(monkeypatch, right)
    assert isinstance(ask(uri), ModelMetadata)
    for end, document in DOCUMENTS[uri].items():
        for wrong in changed(document):
            answers(monkeypatch, right | {end: json.dumps(wrong).encode()})
            ask(uri)


@pytest.mark.parametrize("uri", DOCUMENTS)
@pytest.mark.parametrize("body", [b"[" * 300_000, b'{"a":' * 300_000, b"", b"\xff", b"NaN", b"1" * 500_000, b'"\\ud800"'])
def test_any_answer_may_be_anything(uri: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    right = {end: json.dumps(document).encode() for end, document in DOCUMENTS[uri].items()}
    for end in DOCUMENTS[uri]:
        answers(monkeypatch, right | {end: body})
        ask(uri)


Tensors = list[tuple[str, int, list[int]]]
"""Name, TensorFlow's number of the dtype, shape."""

FLOAT, RESOURCE = 1, 20


def tfserving_messages(inputs: Tensors, method_name: str = "tensorflow/serving/predict") -> dict[str, bytes]:
    definitions = SignatureDefMap()
    definition = definitions.signature_def["serving_default"]
    definition.method_name = method_name
    for name, dtype, shape in inputs:
        info = definition.inputs[name]
        info.dtype = dtype
        for size in shape:
            info.tensor_shape.dim.add(size=size)
    response = tfs.GetModelMetadataResponse()
    response.model_spec.version.value = 1
    response.metadata["signature_def"].value = definitions.SerializeToString()
    return {tfs.GET_MODEL_METADATA: response.SerializeToString()}


def oip_messages(inputs: Tensors, **more: Any) -> dict[str, bytes]:
    model = oip.ModelMetadataResponse(name="m", versions=["1"], **more)
    for name, dtype, shape in inputs:
        model.inputs.add(name=name, datatype="FP32" if dtype == FLOAT else f"T{dtype}", shape=shape)
    return {
        oip.SERVER_METADATA: oip.ServerMetadataResponse(extensions=["model_configuration"]).SerializeToString(),
        oip.MODEL_METADATA: model.SerializeToString(),
        oip.MODEL_CONFIG: oip.ModelConfigResponse().SerializeToString(),
        oip.MODEL_READY: oip.ModelReadyResponse(ready=True).SerializeToString(),
    }


MESSAGES: dict[str, Callable[[Tensors], dict[str, bytes]]] = {TFS_GRPC: tfserving_messages, OIP_GRPC: oip_messages}
RIGHT: Tensors = [("x", FLOAT, [-1, 2])]
REFUSED: dict[str, tuple[Tensors, str]] = {
    "a negative dimension": ([("x", FLOAT, [-1, -5])], "input x has a dimension of -5"),
    "too many dimensions": ([("x", FLOAT, [-1] * 40)], f"input x has 40 dimensions; at most {MAX_RANK}"),
    "a huge row": ([("x", FLOAT, [-1, 1 << 40, 1 << 40])], f"input x has 1.21e\\+24 values .* at most {MAX_ROW_VALUES}"),
    "a long name": ([("x" * 5000, FLOAT, [-1])], "has a name of 5000 characters"),
    "a dtype that no record has": ([("x", RESOURCE, [-1])], "which no record has"),
    "an unknown dtype": ([("x", 77, [-1])], "which no record has"),
    "a control character": ([("\x1b[31m\r\n", 77, [-1])], r"input \\x1b\[31m\\r\\n is of type"),
}


@pytest.mark.parametrize("uri", MESSAGES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_record_fits_is_refused_in_words(uri: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, message = REFUSED[name]
    calls(monkeypatch, MESSAGES[uri](tensors))
    found = ask(uri)
    assert isinstance(found, NotServedError), found
    with pytest.raises(NotServedError, match=message):
        raise found


@pytest.mark.parametrize("uri", MESSAGES)
def test_many_inputs_are_refused_soon(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still read, and what is not."""
    calls(monkeypatch, MESSAGES[uri]([(f"x{at}", FLOAT, [-1, 2]) for at in range(20_000)]))
    found, took_s = asked_in(uri)
    assert f"declares 20000 inputs; at most {MAX_TENSORS} are taken" in str(found)
    assert took_s < 10
    message = next(iter(MESSAGES[uri](RIGHT)))
    calls(monkeypatch, MESSAGES[uri](RIGHT) | {message: bytes(MAX_METADATA_BYTES + 1)})
    found, took_s = asked_in(uri)
    assert f"{MAX_METADATA_BYTES + 1} bytes; at most {MAX_METADATA_BYTES} are read" in str(found)
    assert took_s < 10


@pytest.mark.parametrize("uri", [TFS_REST, OIP_REST, MMS])
def test_a_description_of_a_million_inputs_is_not_read(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"[%b{}]" % (b'{"name":"x"},' * 1_500_000)
    answers(monkeypatch, dict.fromkeys(DOCUMENTS[uri], body))
    found, took_s = asked_in(uri)
    assert f"{len(body)} bytes; at most {MAX_METADATA_BYTES} are read" in str(found)
    assert took_s < 10


def asked_in(uri: str) -> tuple[ModelMetadata | ModelError, float]:
    """What ``ask`` returns, and the seconds of CPU that it took."""
    began = time.process_time()
    return ask(uri), time.process_time() - began


@pytest.mark.parametrize("uri", MESSAGES)
def test_any_bytes_may_be_others(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a fixed seed, so that what fails here fails again."""
    rng = random.Random(11)
    right = MESSAGES[uri](RIGHT)
    calls(monkeypatch, right)
    assert isinstance(ask(uri), ModelMetadata)
    for method, message in right.items():
        for _ in range(400):
            wrong = bytearray(message or b"\n\x01a")
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(len(wrong) + 1)
                wrong[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 3))
            calls(monkeypatch, right | {method: bytes(wrong)})
            ask(uri)
