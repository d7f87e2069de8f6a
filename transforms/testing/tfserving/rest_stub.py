"""Stubs of TensorFlow Serving's REST API and of a KServe V1 server.

    python -m transforms.testing.tfserving.rest_stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM. With ``--fast`` it answers the sum of each row with
little work; see ``grpc_stub.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from transforms.clients.wire.tensorflow.example import build_example
from transforms.clients.wire.tensorflow.messages import DATA_TYPES
from transforms.clients.wire.tensorflow.tensors import dtype_of
from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.guilty import fault_of, guilty_flag
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, dump, hang_up
from transforms.testing.stub_model import StubModel, check_inputs, row_sum, summing_model
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, METHOD_REGRESS, Signature, TensorSpec

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict|:classify|:regress)?")
_METHODS = {":predict": METHOD_PREDICT, ":classify": METHOD_CLASSIFY, ":regress": METHOD_REGRESS}


class TfServingRestStub(HttpStub):
    """TensorFlow Serving's REST API with one model and programmable faults. See ``StubServer``."""

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``."""
        asked = f"/versions/{version}" if version is not None else f"/labels/{label}" if label else ""
        query = f"?signature={signature}" if signature else ""
        return f"{'https' if self._tls else 'http'}://{self.address}/v1/models/{model or self.model.name}{asked}{query}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        matched = _PATH.fullmatch(request.path)
        if not matched:
            return web.Response(status=404, text="<html>not found</html>", content_type="text/html")
        model, version, label, method = matched.groups()
        try:
            body = await self._answer(request, model, None if version is None else int(version), label, method or "")
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            return web.json_response({"error": error.message}, status=status, headers=headers)
        return web.Response(body=body, content_type="application/json")

    async def _answer(self, request: web.Request, model: str, version: int | None, label: str | None, method: str) -> bytes:
        if method in ("", "/metadata"):
            self._must_describe()
        if not method:
            return dump(self._status(model, version, label))
        served = self.model.version(model, version, label)
        if method == "/metadata":
            return dump(self._metadata(served))
        try:
            document = json.loads(await request.text())
        except (ValueError, RecursionError) as error:
            raise StubError("INVALID_ARGUMENT", "JSON Parse error: Invalid value. at offset: 0") from error
        if method == ":predict":
            return await self._predict(request, document)
        return await self._examples(request, document, _METHODS[method])

    async def _predict(self, request: web.Request, document: dict[str, Any]) -> bytes:
        signature, function = self.model.signature(document.get("signature_name", ""), over_rest=True)
        if ("inputs" in document) == ("instances" in document):
            raise StubError("INVALID_ARGUMENT", "One of 'instances' or 'inputs' is required, not both")
        in_rows = "instances" in document
        columns = _columns_of_rows(document["instances"]) if in_rows else document["inputs"]
        if not isinstance(columns, dict) or columns.keys() == {"b64"}:
            columns = {next(iter(signature.inputs), ""): columns}
        columns = {name: values for name, values in columns.items() if name in signature.inputs or in_rows}
        inputs = {
            name: _to_array(name, values, signature.inputs[name].dtype if name in signature.inputs else "float32")
            for name, values in columns.items()
        }
        check_inputs(signature, inputs, lambda array: "string" if array.dtype.kind == "O" else array.dtype.name)
        rows = max((array.shape[0] if array.ndim else 1 for array in inputs.values()), default=1)
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return b'{"outputs": [1, 2'
        written = {name: _written(name, np.asarray(values)) for name, values in outputs.items()}
        if not in_rows:
            return dump({"outputs": next(iter(written.values())) if len(written) == 1 else written})
        if any(np.ndim(values) == 0 for values in outputs.values()):
            raise StubError("INVALID_ARGUMENT", "Tensor name: y has no shape information")
        lists = [list(values) for values in written.values()]
        if len(written) == 1:
            return dump({"predictions": lists[0]})
        return dump({"predictions": [dict(zip(written, row, strict=True)) for row in zip(*lists, strict=True)]})

    async def _examples(self, request: web.Request, document: dict[str, Any], method: str) -> bytes:
        _, function = self.model.signature(document.get("signature_name", ""), over_rest=True, method=method)
        documents = document.get("examples")
        if not documents:
            raise StubError("INVALID_ARGUMENT", "'examples' is missing or empty")
        examples = np.empty(len(documents), dtype=object)
        examples[:] = [build_example({k: _decoded(v) for k, v in features.items()}) for features in documents]
        outputs, fault = await self._respond(
            function, {"examples": examples}, len(examples), request.headers.items(), lambda: hang_up(request)
        )
        if fault is not None and fault.kind == "malformed":
            return b'{"results": [1, 2'
        if not outputs:
            return b"{}"
        if method == METHOD_REGRESS:
            return dump({"results": _written("value", np.asarray(outputs["value"]))})
        pairs = zip(outputs["classes"], outputs["scores"], strict=True)
        results = [[list(pair) for pair in zip(*row, strict=True)] if isinstance(row[0], list) else row for row in pairs]
        return dump({"results": results})

    def _status(self, model: str, version: int | None, label: str | None) -> dict[str, Any]:
        if model != self.model.name:
            raise StubError("NOT_FOUND", f"Could not find any versions of model {model}")
        if label is not None:
            version = self.model.version(model, None, label)
        if version is not None and version not in self.model.versions:
            raise StubError("NOT_FOUND", f"Could not find version {version} of model {model}")
        ok = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [
                {"version": str(number), "state": state, "status": ok}
                for number, state in self.model.versions.items()
                if version in (None, number)
            ]
        }

    def _metadata(self, version: int) -> dict[str, Any]:
        definitions = {name: _definition(signature) for name, (signature, _) in self.model.signatures.items()}
        return {
            "model_spec": {"name": self.model.name, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }


class KServeV1Stub(TfServingRestStub):
    """A KServe V1 server: no metadata, a status with name and readiness, and predictions in the row format only.

    The model's function takes ``{"instances": object array}`` and returns one output, or several by name.
    """

    ready = True

    async def _answer(self, request: web.Request, model: str, version: int | None, label: str | None, method: str) -> bytes:
        if model != self.model.name:
            raise StubError("NOT_FOUND", f"Model with name {model} does not exist.")
        if not method:
            return dump({"name": model, "ready": self.ready})
        if method != ":predict" or version is not None or label is not None:
            raise StubError("NOT_FOUND", "Not Found")
        document = json.loads(await request.text())
        if not isinstance(document.get("instances"), list):
            raise StubError("INVALID_ARGUMENT", 'Expected "instances" to be a list')
        instances = np.empty(len(document["instances"]), dtype=object)
        instances[:] = document["instances"]
        _, function = self.model.signatures["serving_default"]
        outputs, fault = await self._respond(
            function, {"instances": instances}, len(instances), request.headers.items(), lambda: hang_up(request)
        )
        if fault is not None and fault.kind == "malformed":
            return b'{"predictions": [1, 2'
        lists = [v.tolist() if isinstance(v, np.ndarray) else list(v) for v in outputs.values()]
        if len(lists) == 1:
            return dump({"predictions": lists[0]})
        return dump({"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*lists, strict=True)]})


class FastRestStub(TfServingRestStub):
    """A fast server for benchmarks, which answers the sum of each row. Of ``faults`` it uses only ``latency_s``.

    Attributes:
        guilty: The kind of guilty rows (``guilty.KINDS``); ``None`` for none.
    """

    guilty: str | None = None

    async def _answer(self, request: web.Request, model: str, version: int | None, label: str | None, method: str) -> bytes:
        if method != ":predict":
            return await super()._answer(request, model, version, label, method)
        x = np.array(orjson.loads(await request.read())["inputs"], np.float32)
        self.faults.requests += 1
        if self.faults.latency_s:
            await asyncio.sleep(self.faults.latency_s)
        if (fault := fault_of(self.guilty, x)) is not None:
            if fault.kind == "hang_up":
                hang_up(request)
            await asyncio.Event().wait()
        return orjson.dumps({"outputs": row_sum({"x": x})["y"]}, option=orjson.OPT_SERIALIZE_NUMPY)


def _written(name: str, values: np.ndarray) -> Any:
    if values.dtype.kind not in "OSU":
        return values.tolist()

    def write(value: Any) -> Any:
        if isinstance(value, list):
            return [write(item) for item in value]
        raw = value if isinstance(value, bytes) else str(value).encode()
        encoded = base64.b64encode(raw).decode()
        return {"b64": encoded} if name.endswith("_bytes") else raw.decode("utf-8", "surrogateescape")

    return write(values.tolist())


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def _columns_of_rows(rows: Any) -> Any:
    if not isinstance(rows, list) or not rows:
        raise StubError("INVALID_ARGUMENT", "Request data: 'instances' is missing or empty")
    if all(isinstance(row, dict) and row.keys() != {"b64"} for row in rows):
        return {name: [row[name] for row in rows] for name in rows[0]}
    return rows


def _to_array(name: str, value: Any, dtype: str) -> np.ndarray:
    """Converts JSON values as TensorFlow Serving does: ints take no fraction, true or null; numbers take no strings."""
    if dtype in ("float16", "bfloat16", "uint16", "complex64", "complex128"):
        raise StubError("UNIMPLEMENTED", f"Tensor type: {dtype} is not supported for input {name}")
    wanted = {"b": (bool,), "f": (int, float), "i": (int,), "u": (int,)}
    values = np.array(_decoded(value), dtype=object)
    expected = (bytes,) if dtype == "string" else wanted[np.dtype(dtype).kind]
    if not all(type(item) in expected for item in values.ravel().tolist()):
        raise StubError("INVALID_ARGUMENT", f"JSON Value: (some value) Type: String is not of expected type: {dtype}")
    return values if dtype == "string" else values.astype(dtype)


def _definition(signature: Signature) -> dict[str, Any]:
    def infos(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
        return {name: _info(name, spec) for name, spec in specs.items()}

    defaults: dict[str, Any] = {name: {} for name, spec in signature.inputs.items() if spec.has_default}
    return {
        "inputs": infos(signature.inputs),
        "outputs": infos(signature.outputs),
        "method_name": signature.method,
        "defaults": defaults,
    }


def _info(name: str, spec: TensorSpec) -> dict[str, Any]:
    dtypes = {number: dtype for dtype, number in DATA_TYPES.items()}
    dims = [{"size": str(size), "name": ""} for size in spec.shape or ()]
    return {
        "dtype": dtypes[dtype_of(spec.dtype)],
        "tensor_shape": {"dim": dims, "unknown_rank": spec.shape is None},
        "name": f"{name}:0",
    }


def main() -> None:
    """Runs the stub as a program until SIGINT or SIGTERM."""
    known = parser(__doc__)
    known.add_argument("--fast", action="store_true", help="answer y = the sum of each row, and nothing besides")
    guilty_flag(known)
    flags = known.parse_args()

    def make() -> TfServingRestStub:
        if not flags.fast:
            return TfServingRestStub(StubModel(name=flags.model), flags.port)
        stub = FastRestStub(summing_model(flags.model), flags.port)
        stub.guilty = flags.guilty
        return stub

    serve(flags, make)


if __name__ == "__main__":
    main()
