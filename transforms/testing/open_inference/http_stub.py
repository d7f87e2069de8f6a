"""A stub of the Open Inference Protocol's REST API, with Triton's extensions.

    python -m transforms.testing.open_inference.http_stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
from aiohttp import web

from transforms.clients.open_inference.bodies import HEADER_LENGTH
from transforms.clients.open_inference.tensors import (
    datatype_of,
    datatype_of_array,
    dtype_name,
    from_data,
    from_raw,
    to_data,
    to_raw,
)
from transforms.errors import MalformedAnswerError
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, dump, hang_up
from transforms.testing.open_inference.stub import OipStub, index, listed, serve, served
from transforms.testing.stub_model import StubModel, check_inputs
from transforms.testing.stub_server import Tls
from transforms.types import Signature, TensorSpec

_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/config|/ready|/infer)?")


class OipHttpStub(OipStub, HttpStub):
    """The Open Inference Protocol's REST API. See ``OipStub``."""

    scheme = "oip+http"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.path == "/v2":
                self._must_describe()
                return _json({"name": "stub", "version": "1", "extensions": list(self.traits.extensions)})
            if request.path == "/v2/repository/index":
                self.traits.must_have("model_repository")
                return _json(index(self.model))
            matched = _PATH.fullmatch(request.path)
            if not matched:
                raise StubError("NOT_FOUND", "Not Found")
            name, version, call = (unquote(part or "") for part in matched.groups())
            return await self._model_call(request, name, version, call)
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            return web.json_response({"error": error.message}, status=status, headers=headers)

    async def _model_call(self, request: web.Request, name: str, version: str, call: str) -> web.StreamResponse:
        answering, signature, function = served(self.model, name, version)
        if call == "/ready":
            return web.Response(status=200 if self.traits.ready else 400)
        if call == "/config":
            self.traits.must_have("model_configuration")
            given = [{"name": key, "optional": spec.has_default} for key, spec in signature.inputs.items()]
            return _json({"name": name, "max_batch_size": self.traits.max_batch_size, "input": given})
        if call != "/infer":
            self._must_describe()
            sides = ((signature.inputs, "inputs"), (signature.outputs, "outputs"))
            described = {side: _described(specs) if self.traits.declares else [] for specs, side in sides}
            return _json({"name": name, "versions": listed(self.model, version), "platform": "stub", **described})
        inputs, dtypes, binary, asked = self._inputs(await request.read(), request.headers.get(HEADER_LENGTH))
        if self.traits.declares:
            check_inputs(signature, inputs, lambda array: dtypes[id(array)])
        rows = max((array.shape[0] if array.ndim else 1 for array in inputs.values()), default=1)
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        if fault is not None and fault.kind == "malformed":
            return web.Response(body=b'{"outputs": [1, 2', content_type="application/json")
        return self._answer(signature, answering, self._asked_for(asked, outputs, signature), binary)

    def _inputs(
        self, body: bytes, header_length: str | None
    ) -> tuple[dict[str, np.ndarray], dict[int, str], bool, list[str]]:
        """Returns the arrays by name, the dtypes by the array's ``id``, whether to answer in binary, and the outputs."""
        if header_length is not None:
            self.traits.must_have("binary_tensor_data")
        length = len(body) if header_length is None else int(header_length)
        inputs, dtypes, at = {}, {}, length
        try:
            document = json.loads(body[:length])
            for tensor in document["inputs"]:
                name, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
                size = tensor.get("parameters", {}).get("binary_data_size")
                if size is None:
                    inputs[name] = from_data(tensor["data"], datatype, shape, name)
                else:
                    inputs[name] = from_raw(body[at : at + size], datatype, shape, name)
                    at += size
                dtypes[id(inputs[name])] = dtype_name(datatype)
            binary = bool(document.get("parameters", {}).get("binary_data_output"))
            return inputs, dtypes, binary, [output["name"] for output in document.get("outputs", ())]
        except (AttributeError, KeyError, TypeError, ValueError, MalformedAnswerError) as error:
            raise StubError("INVALID_ARGUMENT", f"failed to parse the request: {type(error).__name__}") from error

    def _answer(self, signature: Signature, version: int, outputs: dict[str, Any], binary: bool) -> web.Response:
        tensors, blobs = [], []
        for name, values in outputs.items():
            array, declared = np.asarray(values), signature.outputs.get(name)
            datatype = datatype_of_array(array, declared is not None and declared.dtype == "bfloat16")
            tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
            if binary:
                blobs.append(to_raw(array, datatype))
                tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                tensor["data"] = self._data(array, datatype)
            tensors.append(tensor)
        document: dict[str, Any] = {"model_name": self.model.name, "outputs": tensors}
        if self.traits.tells_version:
            document["model_version"] = str(version)
        header = dump(document)
        if not binary:
            return web.Response(body=header, content_type="application/json")
        headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
        return web.Response(body=b"".join((header, *blobs)), headers=headers)

    def _data(self, array: np.ndarray, datatype: str) -> list[Any]:
        data = to_data(array, datatype)
        values: list[Any] = data.tolist() if isinstance(data, np.ndarray) else data
        if not self.traits.null_for_nan or datatype == "BYTES":
            return values
        return [value if math.isfinite(value) else None for value in values]


class OipJsonStub(OipHttpStub):
    """A server without extensions, such as MLServer: JSON only, and no model configuration."""

    def __init__(self, model: StubModel | None = None, port: int = 0, tls: Tls | None = None):
        super().__init__(model, port, tls)
        self.traits.extensions = ()


def _described(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": datatype_of(spec.dtype), "shape": list(spec.shape or ())} for name, spec in specs.items()
    ]


def _json(document: Any) -> web.Response:
    return web.Response(body=dump(document), content_type="application/json")


if __name__ == "__main__":
    serve(OipHttpStub, __doc__)
