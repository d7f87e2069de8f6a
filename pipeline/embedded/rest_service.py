"""TensorFlow Serving's REST API, version 1, over the loaded models.

Source: http_rest_api_handler.cc, http_rest_api_util.cc and http_server.cc. Their quirks are kept: paths are
case-insensitive, a version number that overflows gets a 400 without a body, and a path outside ``/v1/`` gets a 404 that is
not JSON.
"""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from concurrent.futures import Executor
from typing import Any

from aiohttp import web

from pipeline.embedded import inference, json_answers
from pipeline.embedded.http_status import HTTP_STATUS
from pipeline.embedded.json_examples import read_examples
from pipeline.embedded.json_parse import debug_string, parse_object
from pipeline.embedded.json_tensors import read_inputs
from pipeline.embedded.servable import DEFAULT_SIGNATURE, Models
from transforms.clients.tf_runtime.inference import run_signature
from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tfserving import messages

HOST = "127.0.0.1"
MAX_BODY_BYTES = 2**30

_MODEL = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_INFER = re.compile(rf"/v1/models/(?P<name>[^/:]+){_MODEL}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_READ = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_MODEL}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
_JSON = "application/json"
_NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class _EmptyBodyError(Exception):
    """A 400 without a body."""


def _model_spec(matched: re.Match[str], spec: Any) -> None:
    spec.name = urllib.parse.unquote(matched["name"] or "")
    if matched["version"]:
        version = int(matched["version"])
        if version >= 2**63:
            raise _EmptyBodyError
        spec.version.value = version
    if matched["label"]:
        spec.version_label = urllib.parse.unquote(matched["label"])


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _predict(models: Models, matched: re.Match[str], body: bytes) -> bytes:
    request = messages.PredictRequest()
    _model_spec(matched, request.model_spec)
    document = parse_object(body)
    given_name = _signature_name(document)
    name = given_name or DEFAULT_SIGNATURE
    servable = models.find(request.model_spec)
    if name not in servable.signatures:
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    inputs, by_rows = read_inputs(document, given_name, servable.signatures[name].inputs)
    outputs = run_signature(servable, name, inputs)
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return json_answers.rows(outputs) if by_rows else json_answers.columns(outputs)


def _by_examples(models: Models, matched: re.Match[str], body: bytes) -> bytes:
    classify = matched["method"].lower() == "classify"
    request = messages.ClassificationRequest() if classify else messages.RegressionRequest()
    _model_spec(matched, request.model_spec)
    document = parse_object(body)
    request.model_spec.signature_name = _signature_name(document)
    request.input.example_list.examples.extend(read_examples(document))
    if classify:
        return json_answers.classifications(inference.classify(models, request).result)
    return json_answers.regressions(inference.regress(models, request).result)


def _read(models: Models, matched: re.Match[str]) -> bytes:
    wants_metadata = bool(matched["metadata"])
    request = messages.GetModelMetadataRequest() if wants_metadata else messages.GetModelStatusRequest()
    if not matched["name"]:
        raise invalid_argument("Missing model name in request.")
    _model_spec(matched, request.model_spec)
    if not wants_metadata:
        return json_answers.status(inference.model_status(models, request))
    request.metadata_field.append(inference.SIGNATURE_DEF)
    return json_answers.metadata(inference.model_metadata(models, request))


def answer(models: Models, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Answers one request; blocks while the model runs.

    Args:
        models: The loaded models.
        method: The HTTP method.
        path: The path as sent, still percent-encoded, without the query.
        body: The request's body.

    Returns:
        HTTP status and JSON body.
    """
    try:
        if method == "POST" and (matched := _INFER.fullmatch(path)):
            infer = _predict if matched["method"].lower() == "predict" else _by_examples
            return 200, infer(models, matched, body)
        if method == "GET" and (matched := _READ.fullmatch(path)):
            return 200, _read(models, matched)
        raise invalid_argument(f"Malformed request: {method} {path}")
    except _EmptyBodyError:
        return 400, b""
    except ServingError as error:
        return HTTP_STATUS[error.code], json_answers.error(error.message)
    except Exception as error:  # noqa: BLE001  one bad request must not look like a dead server
        message = f"the embedded server failed: {type(error).__name__}"
        return HTTP_STATUS[Code.INTERNAL], json_answers.error(message)


async def start_rest(models: Models, executor: Executor, port: int) -> tuple[web.ServerRunner, int]:
    """Starts the REST server on 127.0.0.1.

    Args:
        models: The models to serve.
        executor: The thread pool in which the models run.
        port: The port; 0 for a free one.

    Returns:
        The running server and its port.

    Raises:
        OSError: The port is in use.
    """

    async def handle(request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404, text=_NOT_FOUND, content_type="text/html")
        body = await request.read()
        status, text = await loop.run_in_executor(executor, answer, models, request.method, path, body)
        return web.Response(status=status, body=text, content_type=_JSON)

    loop = asyncio.get_running_loop()

    def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)

    server = web.Server(handle, request_factory=make_request)
    runner = web.ServerRunner(server, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise OSError(f"REST can't listen on {HOST}:{port}; is the port in use?") from error
    bound: int = runner.addresses[0][1]
    return runner, bound
