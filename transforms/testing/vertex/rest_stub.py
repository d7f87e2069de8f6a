"""A stub of Vertex AI's REST API: ``POST /v1/projects/P/locations/R/endpoints/E:predict``, with Google's error bodies.

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
from transforms.testing.vertex.stub import HTTP_STATUS, PROJECT, REGION, VertexStub, serve

_PATH = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):predict")
_PRIVATE = re.compile(r"/v1/models/([^/:]+):predict")


class VertexRestStub(VertexStub, HttpStub):
    """An endpoint over REST, public and private. See ``VertexStub``.

    Attributes:
        error_in_200: If set, the ``error`` in the body of responses with HTTP 200, in place of predictions.
    """

    transport = "rest"
    error_in_200: Any = None

    @property
    def private_url(self) -> str:
        """The URL for predictions of a private endpoint (``predictHttpUri``)."""
        return f"http://{self.address}/v1/models/{self.deployed_model}:predict"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
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
