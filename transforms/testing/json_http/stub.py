"""A stub of an app of its author's own, as FastAPI and the like make them: JSON in, JSON out, and ``/healthz``.

    python -m transforms.testing.json_http.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from aiohttp import web

from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, dump, hang_up
from transforms.testing.stub_model import StubModel
from transforms.types import Signature, TensorSpec

REQUEST = '{"options": {"trace": false}, "rows": {"$rows": "$row"}}'
RESPONSE = "$.result.rows[*]"
"""The template and the path for its form of many rows; its form of one row needs neither."""


class JsonStub(HttpStub):
    """``POST /MODEL`` takes ``{"rows": [ROW, …]}`` and answers ``{"result": {"rows": [OUTPUTS, …]}}``; or one bare row.

    A row is an object of the inputs by name, or the value of the only one. See ``StubServer``.

    Attributes:
        seen: The latest request: its method, path with query, content type and body.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.seen: tuple[str, str, str, bytes] = ("", "", "", b"")

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``; an app has neither versions nor signatures."""
        return f"json+{'https' if self._tls else 'http'}://{self.address}/{model or self.model.name}?health=/healthz"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            return web.json_response({"detail": error.message}, status=status, headers=headers)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            if "AVAILABLE" not in self.model.versions.values():
                raise StubError("UNAVAILABLE", "still loading")
            return web.json_response({"ok": True})
        if request.path != f"/{self.model.name}" or "AVAILABLE" not in self.model.versions.values():
            raise StubError("NOT_FOUND", "Not Found")
        if request.method not in ("POST", "PUT"):
            return web.json_response({"detail": "Method Not Allowed"}, status=405)
        body = await request.read()
        self.seen = request.method, request.path_qs, request.content_type, body
        signature, function = next(iter(self.model.signatures.values()))
        try:
            document = json.loads(body)
            many = isinstance(document, dict) and "rows" in document
            inputs, rows = _inputs(document["rows"] if many else [document], signature)
        except (KeyError, TypeError, ValueError) as error:
            raise StubError("INVALID_ARGUMENT", f"not what it takes: {type(error).__name__}", http_status=422) from error
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return web.Response(body=b'{"result": {"rows": [', content_type="application/json")
        if fault is None and any(spec.shape == () for spec in signature.inputs.values()):
            outputs = {name: np.asarray(value)[np.newaxis] for name, value in outputs.items()}
        answers = _rows(outputs)
        answer = {"result": {"rows": answers}} if many else answers[0] if isinstance(answers, list) and answers else {}
        return web.Response(body=dump(answer), content_type="application/json")


def _inputs(rows: list[Any], signature: Signature) -> tuple[dict[str, np.ndarray], int]:
    named = [row if isinstance(row, dict) else {next(iter(signature.inputs), ""): row} for row in rows]
    columns = {name: [row[name] for row in named] for name in (named[0] if named else ())}
    return {name: _array(values, signature.inputs.get(name)) for name, values in columns.items()}, len(rows)


def _array(values: list[Any], spec: TensorSpec | None) -> np.ndarray:
    if spec is None or spec.dtype == "string":
        return np.array(values, object)
    array = np.array(values, np.dtype(spec.dtype))
    return array[0] if spec.shape == () else array


def _rows(outputs: dict[str, Any]) -> Any:
    plain = {name: np.asarray(values).tolist() for name, values in outputs.items()}
    if not plain:
        return []
    if not all(isinstance(values, list) for values in plain.values()):
        return plain
    return [dict(zip(plain, map(_text, row), strict=True)) for row in zip(*plain.values(), strict=True)]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: JsonStub(StubModel(name=flags.model), flags.port))


if __name__ == "__main__":
    main()
