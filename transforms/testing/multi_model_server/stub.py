"""Stubs of multi-model-server and of TorchServe: the inference and the management API on one port.

    python -m transforms.testing.multi_model_server.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
from aiohttp import web

from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, UntypedResponse, dump, hang_up
from transforms.testing.stub_model import StubModel
from transforms.types import Signature

_NOT_FOUND = "Requested resource is not found, please refer to API document."
_TYPES = {404: "ModelNotFoundException", 400: "BadRequestException", 503: "ServiceUnavailableException"}


class TorchServeStub(HttpStub):
    """TorchServe's APIs with one model, in several versions, and programmable faults. See ``StubServer``.

    The model's function gets one row of the named values of a request. A value without a name gets the name of the
    signature's first input, or ``body`` if the signature has none. If the function returns the sole output ``predictions``,
    its value is answered without a name, like that of a handler that does not return a dict.

    Attributes:
        management: Whether the management API answers.
        workers_died: The number of requests with JSON that can't be read. Each would end a worker of the real server.
        content_types: The content types of the prediction requests, in order of arrival.
    """

    several_versions = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.management = True
        self.workers_died = 0
        self.content_types: list[str] = []
        # Both servers answer 503 when a handler raises, as if the server was down.
        self.faults.poison_error = StubError("INTERNAL", "Prediction failed", http_status=503)

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``; there are neither labels nor signatures."""
        scheme = "mms+https" if self._tls else "mms+http"
        asked = "" if version is None else f"/{version}"
        return f"{scheme}://{self.address}/{model or self.model.name}{asked}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request, [unquote(part) for part in request.path.strip("/").split("/")])
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            kind = "InternalServerException" if error.code == "INTERNAL" else _TYPES.get(status, "InternalServerException")
            kind = "ResourceNotFoundException" if error.message == _NOT_FOUND else kind
            document = {"code": status, "type": kind, "message": error.message}
            return web.json_response(document, status=status, headers=headers)

    async def _route(self, request: web.Request, path: list[str]) -> web.StreamResponse:
        if path == ["ping"]:
            return web.json_response({"status": "Healthy"})
        if path[0] == "models" and self.management and len(path) > 1:
            return web.json_response(self._description(*path[1:]))
        if path[0] != "predictions" or not 2 <= len(path) <= 3:
            raise StubError("NOT_FOUND", _NOT_FOUND)
        self._served(path[1], path[2] if path[2:] and self.several_versions else None)
        if request.method == "OPTIONS":
            return web.json_response({"openapi": "3.0.1", "info": {"title": f"RESTful API for: {path[1]}"}})
        return await self._predict(request)

    def _served(self, model: str, version: str | None) -> int:
        if model != self.model.name:
            raise StubError("NOT_FOUND", f"Model not found: {model}")
        return self.model.version(model, None if version is None else int(version), None)

    def _description(self, model: str, version: str | None = None) -> Any:
        if model != self.model.name:
            raise StubError("NOT_FOUND", f"Model not found: {model}")
        versions = self.model.versions
        if version is None:
            available = [number for number, state in versions.items() if state == "AVAILABLE"]
            described = [_described(model, max(available or versions), versions)]
            return described if self.several_versions else described[0]
        if not self.several_versions:
            raise StubError("NOT_FOUND", _NOT_FOUND)
        return [_described(model, number, versions) for number in versions if version in ("all", str(number))]

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        self.content_types.append(request.content_type)
        signature, function = next(iter(self.model.signatures.values()))
        inputs = await self._inputs(request, signature)
        outputs, fault = await self._respond(function, inputs, 1, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return web.Response(body=b'{"y": [1, 2', content_type="application/json")
        rows = {name: _first(values) for name, values in outputs.items() if np.ndim(values) == 0 or len(values)}
        answer = rows["predictions"] if rows.keys() == {"predictions"} else rows
        return UntypedResponse(body=answer if isinstance(answer, bytes) else dump(_plain(answer)))

    async def _inputs(self, request: web.Request, signature: Signature) -> dict[str, np.ndarray]:
        nameless = next(iter(signature.inputs), "body")
        if request.content_type.startswith("multipart/"):
            parts = {name: _part_value(part) for name, part in (await request.post()).items()}
            named = {nameless if name == "data" else name: value for name, value in parts.items()}
        else:
            body = await request.read()
            value: Any = body
            if request.content_type == "application/json":
                try:
                    value = json.loads(body)
                except (ValueError, RecursionError) as error:
                    self.workers_died += 1
                    raise StubError("INTERNAL", "Worker died.") from error
            named = value if isinstance(value, dict) else {nameless: value}
        try:
            return {name: _array(value, name, signature) for name, value in named.items()}
        except (TypeError, ValueError) as error:
            raise self.faults.poison_error from error


class MultiModelServerStub(TorchServeStub):
    """multi-model-server's APIs: one version of the model, which also answers requests for other versions."""

    several_versions = False


def _described(model: str, version: int, versions: Mapping[int, str]) -> dict[str, Any]:
    status = "READY" if versions[version] == "AVAILABLE" else "UNLOADED"
    return {
        "modelName": model,
        "modelVersion": str(version),
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 1,
        "workers": [{"id": "9000", "status": status, "gpu": False}],
    }


def _first(values: Any) -> Any:
    first = values[0] if np.ndim(values) else values
    return first.tolist() if isinstance(first, np.ndarray | np.generic) else first


def _plain(value: Any) -> Any:
    """Bytes as the text that a handler would make of them, or json.dumps would fail."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _part_value(part: Any) -> Any:
    if isinstance(part, str):
        return part
    content = part.file.read()
    if part.content_type == "application/json":
        return json.loads(content)
    return content.decode() if part.content_type.startswith("text/") else content


def _array(value: Any, name: str, signature: Signature) -> np.ndarray:
    spec = signature.inputs.get(name)
    if spec is None or spec.dtype == "string":
        row = np.empty(1, dtype=object)
        row[0] = value.encode() if spec is not None and isinstance(value, str) else value
        return row
    array = np.array(value, np.dtype(spec.dtype))
    return array if spec.shape == () else array[np.newaxis]


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: TorchServeStub(StubModel(name=flags.model), flags.port))


if __name__ == "__main__":
    main()
