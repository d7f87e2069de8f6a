"""A stub of an app of its author's own, as FastAPI and the like make them: JSON in, JSON out, and ``/healthz``.

    python -m transforms.testing.json_http.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, hang_up
from transforms.testing.json_http.app import REQUEST, RESPONSE, read_request, written
from transforms.testing.stub_model import StubModel

__all__ = ["REQUEST", "RESPONSE", "JsonStub"]


class JsonStub(HttpStub):
    """``POST /MODEL`` takes and answers what ``app.py`` says. See ``StubServer``.

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
        inputs, rows, many = read_request(body, signature)
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        return web.Response(body=written(outputs, fault, signature, many), content_type="application/json")


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: JsonStub(StubModel(name=flags.model), flags.port))


if __name__ == "__main__":
    main()
