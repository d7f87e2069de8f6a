"""A stub of Vertex AI's REST API: ``POST /v1/projects/P/locations/R/endpoints/E:predict``, with Google's error bodies; and
``:rawPredict``, where the container is an app with bodies and errors of its own (``json_http/app.py``).

    python -m transforms.testing.vertex.rest_stub --port 0 --latency_ms 20

prints its model URI as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from transforms.testing.faults import StubError
from transforms.testing.http_stub import HttpStub, hang_up
from transforms.testing.json_http.app import read_request, written
from transforms.testing.vertex.stub import HTTP_STATUS, PROJECT, REGION, VertexStub, serve

_PATH = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):(predict|rawPredict)")
_PRIVATE = re.compile(r"/v1/models/([^/:]+):predict")


class VertexRestStub(VertexStub, HttpStub):
    """An endpoint over REST, public and private. See ``VertexStub``.

    Attributes:
        error_in_200: If set, the ``error`` in the body of responses with HTTP 200, in place of predictions.
        last_raw: Content type and body of the last raw request.
    """

    transport = "rest"
    error_in_200: Any = None
    last_raw: tuple[str, bytes] = ("", b"")

    @property
    def private_url(self) -> str:
        """The URL for predictions of a private endpoint (``predictHttpUri``)."""
        return f"http://{self.address}/v1/models/{self.deployed_model}:predict"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        matched = _PATH.fullmatch(request.path)
        try:
            if matched and matched[2] == "rawPredict" and request.method == "POST":
                return await self._answered_raw(request, matched[1])
            body = await self._answered(request)
        except StubError as error:
            headers = {"X-Debug": "stub"}
            details = []
            if error.retry_after_s is not None:
                delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.retry_after_s:g}s"}
                details.append(delay)
            status = error.http_status or HTTP_STATUS[error.code]
            document = {"code": status, "message": error.message, "status": error.code, "details": details}
            return web.json_response({"error": document}, status=status, headers=headers)
        return web.Response(body=body, content_type="application/json")

    async def _answered_raw(self, request: web.Request, endpoint: str) -> web.StreamResponse:
        body = await request.read()
        self._check_size(len(body))
        self._admit(endpoint, list(request.headers.items()))
        if not self.model.signatures or not self.model.versions:
            raise StubError("FAILED_PRECONDITION", f"Endpoint {endpoint} has no deployed models")
        self.last_raw = request.content_type, body
        headers = {"X-Vertex-AI-Endpoint-Id": self.model.name, "X-Vertex-AI-Deployed-Model-Id": self.deployed_model}
        (signature, function), *_ = self.model.signatures.values()
        try:
            inputs, rows, many = read_request(body, signature)
            outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        except StubError as error:
            if error.retry_after_s is not None:
                headers["Retry-After"] = f"{error.retry_after_s:g}"
            status = error.http_status or HTTP_STATUS[error.code]
            return web.json_response({"detail": error.message}, status=status, headers=headers)
        content = written(outputs, fault, signature, many)
        return web.Response(body=content, content_type="application/json", headers=headers)

    async def _answered(self, request: web.Request) -> bytes:
        matched, private = _PATH.fullmatch(request.path), _PRIVATE.fullmatch(request.path)
        if request.method != "POST" or not (matched or private):
            raise StubError("NOT_FOUND", f"Not found: {request.method} {request.path}")
        if private and private[1] != self.deployed_model:
            raise StubError("NOT_FOUND", f"Servable not found for request: Latest({private[1]})")
        name = matched[1] if matched else f"projects/{PROJECT}/locations/{REGION}/endpoints/{self.model.name}"
        text = await request.read()
        self._check_size(len(text))
        try:
            document = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise StubError("INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected token.") from error
        instances, parameters = document["instances"], document.get("parameters")
        response, fault = await self._answer_instances(
            name, instances, parameters, request.headers.items(), lambda: hang_up(request)
        )
        if fault is not None and fault.kind == "malformed":
            return b'{"predictions": [1, 2'
        if self.error_in_200 is not None:
            response = {"error": self.error_in_200}
        elif private:  # there the container itself answers
            response = {"predictions": response["predictions"]}
        return json.dumps(response).encode()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


if __name__ == "__main__":
    serve(VertexRestStub, __doc__)
