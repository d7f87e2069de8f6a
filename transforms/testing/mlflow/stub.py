"""A stub of MLflow's scoring server and of Azure ML's, with a model in Python.

    python -m transforms.testing.mlflow.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from aiohttp import web

from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, dump, hang_up
from transforms.testing.stub_model import StubModel
from transforms.types import Signature, TensorSpec

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class MlflowStub(HttpStub):
    """``/MODEL/invocations``, ``/MODEL/ping`` and ``/MODEL/version``; ``/MODEL/score`` as Azure ML's. See ``StubServer``.

    Attributes:
        seen: The document of the latest request.
        mlflow_version: What it answers for ``/version``.
        table: Whether the model returns a table (a list of objects) rather than an object of arrays.
        has_ping: Whether it has ``/ping``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.seen: dict[str, Any] = {}
        self.mlflow_version = "3.17.2"
        self.table = True
        self.has_ping = True

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``; the server has one model, without versions."""
        return f"mlflow+{'https' if self._tls else 'http'}://{self.address}/{model or self.model.name}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            document = {"error_code": "BAD_REQUEST", "message": error.message, "stack_trace": "Traceback: secret-payload"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            return web.json_response(document, status=status, headers=headers)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        _, _, call = request.path.rpartition("/")
        loaded = "AVAILABLE" in self.model.versions.values()
        if (call == "ping" and self.has_ping) or request.path == "/":
            if not loaded:
                raise StubError("UNAVAILABLE", "still loading")
            return web.Response(body=b"\n", content_type="application/json")
        if call == "version":
            return web.Response(text=self.mlflow_version, content_type="application/json")
        if not loaded or request.path not in (f"/{self.model.name}/invocations", f"/{self.model.name}/score"):
            raise StubError("NOT_FOUND", "Not Found")
        if request.method != "POST":
            return web.json_response({"detail": "Method Not Allowed"}, status=405)
        return await self._invoke(request, azure=call == "score")

    async def _invoke(self, request: web.Request, azure: bool) -> web.StreamResponse:
        signature, function = next(iter(self.model.signatures.values()))
        body = await request.read()
        try:
            self.seen = json.loads(body)
            inputs, rows = _inputs(_columns(self.seen, azure), signature)
        except (KeyError, TypeError, ValueError) as error:
            raise StubError(
                "INVALID_ARGUMENT", f"Failed to predict data '{body!r}'. \nError: {type(error).__name__}"
            ) from error
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return web.Response(body=b'{"predictions": [', content_type="application/json")
        predictions = _predictions(outputs, self.table)
        return web.Response(
            body=dump(predictions if azure else {"predictions": predictions}), content_type="application/json"
        )


def _columns(document: dict[str, Any], azure: bool) -> dict[str, list[Any]]:
    """Returns a request's values by column, or under the empty name those without one."""
    if azure:
        (form, values), *rest = document.items()
        if form != "input_data" or rest:
            raise KeyError(form)
        frame = isinstance(values, dict) and {"columns", "index", "data"} <= values.keys()
        form = "dataframe_split" if frame else "inputs"
        values = {name: values[name] for name in ("columns", "data")} if frame else values
    else:
        (form,) = (name for name in document if name in FORMS)
        values = document[form]
    if form == "dataframe_split":
        return {name: [row[at] for row in values["data"]] for at, name in enumerate(values["columns"])}
    if isinstance(values, dict):
        return values
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return {name: [row[name] for row in values] for name in values[0]}
    return {"": values}


def _inputs(columns: dict[str, list[Any]], signature: Signature) -> tuple[dict[str, np.ndarray], int]:
    only = next(iter(signature.inputs), "")
    inputs = {name or only: _array(values, signature.inputs.get(name or only)) for name, values in columns.items()}
    sizes = [len(array) for array in inputs.values() if array.ndim]
    return inputs, max(sizes, default=1)


def _array(values: Any, spec: TensorSpec | None) -> np.ndarray:
    if spec is None or spec.dtype == "string":
        return np.array(values, object)
    array = np.array(values, np.dtype(spec.dtype))
    return array.reshape(()) if spec.shape == () else array


def _predictions(outputs: dict[str, Any], table: bool) -> Any:
    plain = {name: np.asarray(values).tolist() for name, values in outputs.items()}
    if not table or not plain or not all(isinstance(values, list) for values in plain.values()):
        return _text(plain)
    lengths = {len(values) for values in plain.values()}
    if len(lengths) > 1:
        return _text(plain)
    return [dict(zip(plain, map(_text, row), strict=True)) for row in zip(*plain.values(), strict=True)]


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.encodebytes(value).decode()
    return value


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: MlflowStub(StubModel(name=flags.model), flags.port))


if __name__ == "__main__":
    main()
