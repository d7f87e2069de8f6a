"""The answers of servers: each protocol's client over connections that answer what the fuzzer likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.fuzz import json_grammar, protobuf_grammar
from tests.fuzz.oracle import allowed, must
from tests.fuzz.source import Source
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.json_bodies.csv_rows import csv_answers
from transforms.clients.json_http.client import JsonHttpClient
from transforms.clients.json_http.uri import parse as parse_json_http
from transforms.clients.mlflow.client import MlflowClient
from transforms.clients.mlflow.uri import parse as parse_mlflow
from transforms.clients.mlmodel import MlflowSignature
from transforms.clients.multi_model_server.http import MmsClient
from transforms.clients.multi_model_server.uri import parse as parse_mms
from transforms.clients.open_inference import messages as oip
from transforms.clients.open_inference.http import OipHttpClient
from transforms.clients.open_inference.http import parse as parse_oip_http
from transforms.clients.openai.http import OpenAiClient
from transforms.clients.openai.uri import parse as parse_openai
from transforms.clients.sagemaker.client import SageMakerClient
from transforms.clients.sagemaker.uri import parse as parse_sagemaker
from transforms.clients.tfserving import messages as tfserving
from transforms.clients.tfserving.rest import TfServingRestClient
from transforms.clients.tfserving.rest import parse as parse_rest
from transforms.clients.vertex.client import VertexClient
from transforms.clients.vertex.credentials import NoTokens
from transforms.clients.vertex.rest import RestTransport
from transforms.clients.vertex.uri import parse as parse_vertex
from transforms.clients.wire.grpc import GrpcChannel
from transforms.clients.wire.http import HttpConnection, HttpResponse
from transforms.clients.wire.status_codes import GRPC_ERRORS
from transforms.clients.wire.tensorflow.messages import SignatureDefMap, TensorProto
from transforms.errors import MalformedAnswerError, ModelError
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

_STATUSES = (200, 200, 200, 200, 200, 400, 404, 429, 500, 503, 302, 204, 999)
_TYPES = ("application/json", "", "text/plain", "application/octet-stream", "image/png", ";;", "text/html; charset=x")
_NAMES = (
    *("outputs", "predictions", "error", "results", "name", "shape", "datatype", "data", "parameters", "binary_data_size"),
    *("model_version", "versions", "inputs", "extensions", "ready", "detail", "message", "code", "status", "details"),
    *("metadata", "signature_def", "serving_default", "tensor_shape", "dim", "size", "dtype", "method_name", "unknown_rank"),
    *("model_version_status", "state", "version", "modelVersion", "workers", "@type", "retryDelay", "content_type", "b64"),
    *("max_batch_size", "input", "optional", "type", "loc", "msg", "modelVersionId", "deployedModelId", "model_spec"),
)
_OPENAI_NAMES = ("data", "index", "embedding", "model", "id", "error", "message", "code", "detail", "msg", "loc", "usage")
_VECTORS = (
    b"[0.5,1]",
    b'"AAAAPwAAgD8="',
    b"[]",
    b'"AAA="',
    b"[[1],[1,2]]",
    b'"*"',
    b"null",
    b"[1e400,2]",
    b"[true]",
    b'["x"]',
)
_TEXTS = (
    *(
        "could not convert string to float: 'a'",
        "batch size must be <= 9",
        "larger than max (9 vs. 3)",
        "0 exceeded",
        "\x1b[2J",
    ),
    *("Traceback (most recent call last):\n ValueError: x", "larger than maximum batch size " + "9" * 5000, "x" * 10_000),
    *("Received message larger than max (" + "9" * 5000 + " vs. 4)", "queue to which this task was submitted is full", ""),
)
_INPUTS = {"x": np.zeros((2, 2), np.float32)}
_STRINGS = {"input": np.array([b"a", "\u20ac".encode()], dtype=object)}
_EXAMPLES = {"inputs": np.array([b"", b"\n\0"], dtype=object)}
_ROWS = 2
_DOCUMENTS = {"instances": np.array([[1.0], {"a": 1}, None], dtype=object)[:_ROWS]}

_loop = asyncio.new_event_loop()


def _http(source: Source, text_of: Callable[[Source], bytes] | None = None) -> type[HttpConnection]:
    class Fuzzed(HttpConnection):
        async def send(self, *_: Any, **__: Any) -> HttpResponse:
            if source.chance(10):
                raise MalformedAnswerError("not HTTP")
            content = source.mutated(json_grammar.text_of(source, _NAMES) if text_of is None else text_of(source))
            if source.chance(6):
                content = b'{"error": "%b"}' % source.pick(_TEXTS).encode()
            headers = {"Inference-Header-Content-Length": source.pick(("0", "10", "-1", "x", "²", "9" * 5000))}
            return HttpResponse(
                source.pick(_STATUSES),
                content,
                None,
                source.pick(_TEXTS),
                source.pick(_TYPES),
                headers if source.chance(3) else {},
            )

    return Fuzzed


def _grpc(
    source: Source, translate: Callable[..., ModelError], answers: Mapping[str, Callable[[Source], Any]]
) -> type[GrpcChannel]:
    class Fuzzed(GrpcChannel):
        async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
            if source.chance(6):
                raise translate("m", source.pick((*GRPC_ERRORS, "NOT_FOUND", "OK", "99")), source.pick(_TEXTS), None)
            make = answers.get(method)
            made = protobuf_grammar.message_of(source) if make is None else make(source).SerializeToString()
            return source.mutated(made)

    return Fuzzed


def _ask(client: ModelClient, source: Source) -> None:
    """Metadata, then a prediction: an answer has a value for each row, or the error is one of ours."""

    async def ask() -> None:
        signature = Signature("", METHOD_PREDICT, {}, {})
        with allowed(ModelError):
            signature = (await client.metadata(1.0)).signature
        examples, known = signature.takes_examples, signature.known
        numbers = (_STRINGS,) if "input" in signature.inputs else (_INPUTS,)
        for inputs in (_EXAMPLES,) if examples else numbers if known else (_DOCUMENTS, _INPUTS):
            with allowed(ModelError):
                answer = await client.predict(inputs, _ROWS, 1.0)
                for name, values in answer.outputs.items():
                    must(len(values) == _ROWS, f"output {name!r} has {len(values)} values for {_ROWS} rows")
                str(answer.version).encode("utf-8", "surrogatepass")
        await client.close()

    _loop.run_until_complete(ask())


def _over_http(
    make: Callable[..., ModelClient], address: Any, text_of: Callable[[Source], bytes] | None = None
) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        source = Source(data)
        _ask(make(address, ClientOptions(), connect=_http(source, text_of)), source)

    return run


tfserving_rest = _over_http(TfServingRestClient, parse_rest("http://h:1/v1/models/m"))
oip_rest = _over_http(OipHttpClient, parse_oip_http("oip+http://h:1/m"))
multi_model_server = _over_http(MmsClient, parse_mms("mms+http://h:1/m"))


def _openai_text(source: Source) -> bytes:
    """An answer of an OpenAI-compatible server: mostly entries with vectors, one for each row."""
    if source.chance(4):
        return json_grammar.text_of(source, _OPENAI_NAMES)
    count = source.edge() % 4 if source.chance(4) else source.below(3)
    entries = [
        b'{"index":%d,"embedding":%b}' % (source.edge() if source.chance(5) else at, source.pick(_VECTORS))
        for at in range(count)
    ]
    return b'{"data":[%b],"model":%b}' % (b",".join(entries), json_grammar.text_of(source, _OPENAI_NAMES, 1))


openai_embeddings = _over_http(OpenAiClient, parse_openai("openai+http://h:1/m?task=embeddings"), _openai_text)


_PREDICTIONS = (
    b"[0.5,1]",
    b"[[1],[2]]",
    b'[{"y":1},{"y":2}]',
    b'{"y":[1,2],"z":3}',
    b"7",
    b"[]",
    b"null",
    b'[{"0":1},{}]',
    b"[1e400,2]",
)


def _mlflow_text(source: Source) -> bytes:
    """An answer of MLflow's server: mostly predictions of two rows."""
    if source.chance(3):
        return json_grammar.text_of(source, ("predictions", "message", "stack_trace", "error_code", "0", "y"))
    return b'{"predictions":%b}' % source.pick(_PREDICTIONS)


def mlflow(data: bytes) -> None:
    """MLflow's answers: with a signature, and with records sent as they are."""
    source = Source(data)
    outputs = {"y": TensorSpec(source.pick(("float32", "int64", "string", "bool")), source.pick(((-1,), (-1, 2), (), None)))}
    binary = frozenset(("y",) if source.chance(3) else ())
    signature = MlflowSignature("", METHOD_PREDICT, {"x": TensorSpec("float32", (-1, 2))}, outputs, binary_outputs=binary)
    for form, declared in (("inputs", signature), ("dataframe_records", None)):
        address, options = parse_mlflow(f"mlflow+http://h:1?form={form}"), ClientOptions(signature=declared)
        _ask(MlflowClient(address, options, _http(source, _mlflow_text)), source)


_JSON_NAMES = ("result", "rows", "y", "z", "error", "detail", "msg", "loc", "message", "0")
_ROWS_OF_JSON = (b'{"result":{"rows":%b}}', b'{"rows":%b,"y":1}', b"%b", b'{"result":%b}')


def _json_text(source: Source) -> bytes:
    """An answer of an app of its author's own: mostly a list with a value for each row, somewhere."""
    if source.chance(3):
        return json_grammar.text_of(source, _JSON_NAMES)
    return source.pick(_ROWS_OF_JSON) % source.pick(_PREDICTIONS)


def json_http(data: bytes) -> None:
    """A JSON endpoint's answers: by a path to the rows, by names, and as the whole answer."""
    source = Source(data)
    for response in ((("", "$.result.rows[*]"),), (("y", "$.rows[*].y|number"), ("z", "$.result")), ()):
        options = ClientOptions(request='{"rows": {"$rows": "$row"}}', response=response)
        address = parse_json_http("json+http://h:1/p?health=/healthz")
        _ask(JsonHttpClient(address, options, _http(source, _json_text)), source)


def sagemaker(data: bytes) -> None:
    """SageMaker's answers and errors, in JSON and in CSV."""
    source = Source(data)
    for body in ("", "&body=csv"):
        address = parse_sagemaker(f"sagemaker://e?region=eu-west-1{body}")
        _ask(SageMakerClient(address, ClientOptions(), None, _http(source, _json_text)), source)
    csv = b"\n".join(b",".join(source.pick((b"1", b"-0.5e3", b'"a', b"nan", b"")) for _ in range(2)) for _ in range(2))
    with contextlib.suppress(MalformedAnswerError):
        csv_answers(csv, 2)


def vertex(data: bytes) -> None:
    """Vertex AI's answers over REST."""
    source, address = Source(data), parse_vertex("vertex://p/europe-west4/1")
    _ask(VertexClient(address, RestTransport(address, ClientOptions(), NoTokens(), _http(source))), source)


def _tensor(source: Source) -> Any:
    tensor = TensorProto(dtype=source.pick((1, 7, 3, 9, 14, 10, 19, 23, 101, 0)))
    tensor.tensor_shape.SetInParent()
    for _ in range(source.below(4)):
        tensor.tensor_shape.dim.add(size=max(-2, min(source.edge(), 2**62)))
    tensor.tensor_shape.unknown_rank = source.chance(8)
    tensor.tensor_content = source.take(source.pick((0, 0, 8, 16)))
    for field in ("float_val", "int_val", "int64_val", "double_val", "half_val"):
        if source.chance(3):
            getattr(tensor, field).extend([1] * source.small())
    tensor.string_val.extend([source.take(2)] * source.small() if source.chance(2) else [])
    return tensor


def _predict_response(source: Source) -> Any:
    response = tfserving.PredictResponse()
    for _ in range(source.below(3)):
        response.outputs[source.pick(("y", "z", ""))].CopyFrom(_tensor(source))
    return response


def _model_metadata(source: Source) -> Any:
    definitions = SignatureDefMap()
    definition = definitions.signature_def[source.pick(("serving_default", "other", ""))]
    definition.method_name = source.pick(("tensorflow/serving/predict", "tensorflow/serving/classify", "", "x"))
    for side in (definition.inputs, definition.outputs):
        for _ in range(source.below(3)):
            info = side[source.pick(("x", "y", "z"))]
            info.dtype = source.pick((1, 7, 9, 14, 0, 999))
            for _ in range(source.below(3)):
                info.tensor_shape.dim.add(size=max(-2, min(source.edge(), 2**62)))
    response = tfserving.GetModelMetadataResponse()
    response.metadata["signature_def"].value = source.mutated(definitions.SerializeToString())
    return response


def tfserving_grpc(data: bytes) -> None:
    """TensorFlow Serving's messages."""
    from transforms.clients.tfserving.grpc import TfServingGrpcClient, parse, translator

    source, address = Source(data), parse("grpc://h:1/m")
    answers = {tfserving.PREDICT: _predict_response, tfserving.GET_MODEL_METADATA: _model_metadata}
    _ask(TfServingGrpcClient(address, ClientOptions(), _grpc(source, translator(address), answers)), source)


def _infer_response(source: Source) -> Any:
    response = oip.ModelInferResponse(model_version=source.text())
    for _ in range(source.below(3)):
        output = response.outputs.add(name=source.pick(("y", "z", "")), datatype=source.pick(_DATATYPES))
        output.shape.extend([max(-2, min(source.edge(), 2**62)) for _ in range(source.below(4))])
        for field in ("fp32_contents", "int64_contents", "bool_contents"):
            getattr(output.contents, field).extend([1] * source.small() if source.chance(3) else [])
        if source.chance(2):
            response.raw_output_contents.append(source.take(source.pick((0, 4, 8, 16))))
    return response


def _oip_metadata(source: Source) -> Any:
    response = oip.ModelMetadataResponse(versions=[source.text()] * source.below(3))
    for side in (response.inputs, response.outputs):
        for _ in range(source.below(3)):
            side.add(name=source.pick(("x", "y")), datatype=source.pick(_DATATYPES), shape=[-1, source.small()])
    return response


_DATATYPES = ("FP32", "INT64", "BYTES", "BOOL", "FP16", "BF16", "", "x", "UINT8")


def oip_grpc(data: bytes) -> None:
    """The Open Inference Protocol's messages."""
    from transforms.clients.open_inference.errors import from_grpc
    from transforms.clients.open_inference.grpc import OipGrpcClient, parse

    source = Source(data)
    answers = {oip.MODEL_INFER: _infer_response, oip.MODEL_METADATA: _oip_metadata}
    client = OipGrpcClient(parse("oip+grpc://h:1/m"), ClientOptions(), connect=_grpc(source, from_grpc, answers))
    _ask(client, source)
