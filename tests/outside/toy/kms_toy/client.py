"""The toy protocol: ``GET /MODEL`` describes a model, ``POST /MODEL`` runs it, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import yarl

from transforms.clients import ClientOptions, ModelClient
from transforms.clients.uri import mistake, split
from transforms.clients.wire.http import HttpConnection
from transforms.clients.wire.json import dumps, loads
from transforms.clients.wire.json_outputs import read_outputs
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.outputs import OutputMatcher
from transforms.clients.wire.status_codes import from_http_status
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.types import METHOD_PREDICT, Answer, ModelMetadata, Signature, TensorSpec

FORM = "toy+http://HOST:PORT/MODEL[?version=N]"


def parse(uri: str) -> yarl.URL:
    """Returns the URL of the model. The registry calls this without any I/O, to check the flag."""
    parts, port = split(uri, FORM)
    if port is None or "/" in parts.path[1:] or not parts.path[1:]:
        raise mistake(uri, "a port and the name of one model are needed", FORM)
    return yarl.URL(uri.removeprefix("toy+"))


def open(uri: str, options: ClientOptions) -> ToyClient:
    """Makes the client. It connects with the first request."""
    return ToyClient(parse(uri), options)


class ToyClient(ModelClient):
    """A client of one model."""

    def __init__(self, url: yarl.URL, options: ClientOptions):
        self._url, self._where = url, f"model {url.name} at {url.authority}"
        self._http = HttpConnection(self._where, url.scheme == "https", options)
        self._outputs = OutputMatcher(self._where, options.outputs)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """Reads version and signature."""
        with as_metadata_errors("is it a toy server?"):
            served = await self._ask("GET", None, timeout_s)
        try:
            inputs, outputs = ({name: _spec(spec) for name, spec in served[side].items()} for side in ("inputs", "outputs"))
            signature = Signature(served["signature"], METHOD_PREDICT, inputs, outputs)
            self._outputs.signature = signature
            return ModelMetadata(self._url.name, served["version"], signature)
        except (AttributeError, KeyError, TypeError) as error:
            raise NotServedError(f"{self._where}: its description can't be read; is it a toy server?") from error

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """Sends one request and checks that its answer has a row for each of its rows."""
        try:
            body = dumps({name: array.tolist() for name, array in inputs.items()})
        except TypeError as error:
            raise RejectedError(f"{self._where}: the request has no JSON form: {error}") from error
        answer = await self._ask("POST", body, timeout_s)
        try:
            outputs = read_outputs(answer, self._outputs.signature)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        scalar_inputs = not any(array.ndim for array in inputs.values())
        return self._outputs.match(outputs, rows, scalar_inputs=scalar_inputs).answer(str(answer.get("version", "")))

    async def _ask(self, method: str, body: bytes | None, timeout_s: float) -> Any:
        """Connection errors are translated by ``HttpConnection``, statuses by the table in ``status_codes.py``."""
        answer = await self._http.send(method, self._url, timeout_s, body)
        if answer.status != 200:
            text = answer.body.decode("utf-8", "replace")
            raise from_http_status(self._where, answer.status, text, answer.retry_after_s)
        try:
            return loads(answer.body)
        except ValueError as error:
            raise MalformedAnswerError(f"{self._where}: the answer is no JSON") from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def _spec(described: dict[str, Any]) -> TensorSpec:
    shape = described["shape"]
    return TensorSpec(described["dtype"], None if shape is None else tuple(shape), described["optional"])
