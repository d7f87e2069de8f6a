"""A server of the toy protocol that fails on demand, for tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from aiohttp import web

from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, hang_up


class ToyStub(HttpStub):
    """See ``StubServer``: threads, ports, TLS and faults are its own."""

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """The protocol knows neither labels nor names of signatures."""
        query = "" if version is None else f"?version={version}"
        return f"toy+{'https' if self._tls else 'http'}://{self.address}/{model or self.model.name}{query}"

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            return web.Response(body=await self._answer(request))
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            return web.Response(status=HTTP_STATUSES.get(error.code, 500), text=error.message, headers=headers)

    async def _answer(self, request: web.Request) -> bytes:
        version = self._version(request)
        if not self.model.signatures:
            raise StubError("NOT_FOUND", "the model has no signature")
        name, (signature, function) = next(iter(self.model.signatures.items()))
        if request.method == "GET":
            sides = {"inputs": signature.inputs, "outputs": signature.outputs}
            described = {
                side: {n: {"dtype": s.dtype, "shape": s.shape, "optional": s.has_default} for n, s in specs.items()}
                for side, specs in sides.items()
            }
            return json.dumps({"version": version, "signature": name, **described}).encode()
        inputs = {n: np.array(values, signature.inputs[n].dtype) for n, values in (await request.json()).items()}
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return b'{"outputs": ['
        answer: dict[str, Any] = {name: np.asarray(values).tolist() for name, values in outputs.items()}
        return json.dumps({"version": version, "outputs": answer}, default=bytes.decode).encode()

    def _version(self, request: web.Request) -> str:
        asked = request.query.get("version")
        try:
            return str(self.model.version(request.path[1:], None if asked is None else int(asked), None))
        except StubError as error:
            there = ", ".join(f"{number} ({state})" for number, state in self.model.versions.items())
            code = "UNAVAILABLE" if "LOADING" in self.model.versions.values() else error.code
            raise StubError(code, f"no such version, or it is still loading; there are {there}") from error
