"""multi-model-server (AWS, MXNet) and TorchServe: ``mms+http://HOST:PORT/MODEL[/VERSION]``.

Source: https://github.com/awslabs/multi-model-server/blob/master/docs/inference_api.md and management_api.md;
https://pytorch.org/serve/inference_api.html and management_api.html.

A request carries one row: the server makes batches of the requests that wait, as its model was registered. So the throughput
comes from many requests in flight, not from large ones, and ``ModelMetadata.max_rows`` is 1.

The servers publish no signature, so it is not known, unless the URI says that the model takes bytes (``body=bytes``). An
answer does not name the version. The management API does, if it can be reached; it is asked again every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.multi_model_server import description
from transforms.clients.multi_model_server.description import Served
from transforms.clients.multi_model_server.errors import error_text, from_answer
from transforms.clients.multi_model_server.uri import MmsAddress, parse
from transforms.clients.wire.http import Connect, HttpConnection, HttpResponse
from transforms.clients.wire.metadata_errors import as_metadata_errors, of_metadata
from transforms.clients.wire.outputs import Outputs
from transforms.clients.wire.row_body import BYTES, RAW_INPUT, Body, read_answer, request_body
from transforms.clients.wire.served_version import VERSION_REFRESH_S, ServedVersion
from transforms.clients.wire.stand_ins import RedirectedError
from transforms.clients.wire.status_codes import DENIED
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
)
from transforms.types import METHOD_PREDICT, Answer, ModelMetadata, Signature, TensorSpec

__all__ = ["MmsClient", "open", "parse"]

MAX_ROWS = 1
INFERENCE_PORT = "is it the inference port (8080) of one of the two?"


def open(uri: str, options: ClientOptions) -> MmsClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return MmsClient(parse(uri), options)


class MmsClient(ModelClient):
    """A client of multi-model-server's or TorchServe's inference API for one model.

    Args:
        address: The model and the server's address.
        options: TLS files, headers and the number of connections.
        version_refresh_s: Seconds after which the served version is looked up again.
        clock: Returns the seconds of a monotonic clock.
        connect: Makes the connections.
    """

    def __init__(
        self,
        address: MmsAddress,
        options: ClientOptions,
        version_refresh_s: float = VERSION_REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = HttpConnection,
    ):
        self._address = address
        self._where = str(address)
        self._http = connect(self._where, address.secure, options)
        self._predictions_url = address.predictions_url
        self._version = ServedVersion(self._look_for_version, address.version, version_refresh_s, clock)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. The version is empty if the management API can't be reached and the URI names no version."""
        with as_metadata_errors(INFERENCE_PORT, where=self._where):
            await self._check_ping(timeout_s)
            served = await self._served(timeout_s)
            if served is None:
                await self._check_described(timeout_s)
        if served is not None:
            served.check(self._where)
        self._version.read(None if served is None else served.version)
        return ModelMetadata(self._address.model, self._version.name, self._signature(), MAX_ROWS)

    def _signature(self) -> Signature:
        if self._address.body == BYTES:
            return Signature("", METHOD_PREDICT, {RAW_INPUT: TensorSpec("string", (-1,))}, {})
        return Signature.unknown()

    async def _check_ping(self, timeout_s: float) -> None:
        answer = await self._http.send("GET", self._address.ping_url, timeout_s)
        if answer.status != 404 and answer.status >= 300:  # 404: a gateway may forward predictions only
            raise from_answer(self._where, answer)

    async def _served(self, timeout_s: float) -> Served | None:
        """Returns the management API's description of the model; ``None`` if there is none."""
        try:
            answer = await self._http.send("GET", self._address.model_url, timeout_s)
            if description.is_of_several(answer) and self._address.version is not None:
                answer = await self._http.send("GET", self._address.versions_url, timeout_s)
        except ModelError:
            if self._address.management is None:
                raise  # no other address was named: the inference API does not answer either
            return None
        of_metadata(answer.body, self._where)
        if error_text(answer)[0] == "ModelNotFoundException":
            raise from_answer(self._where, answer)
        return description.read(answer, self._address.version)

    async def _check_described(self, timeout_s: float) -> None:
        """Checks that the inference API serves the model: it answers OPTIONS with a description of every model it serves."""
        try:
            answer = await self._http.send("OPTIONS", self._predictions_url, timeout_s)
        except RedirectedError:
            return  # of this method: what stands before it may send browsers to a page
        if answer.status == 404:
            kind, _ = error_text(answer)
            hint = "" if kind.startswith("Model") else f"; {INFERENCE_PORT}"
            raise NotServedError(f"{from_answer(self._where, answer)}{hint}")
        if answer.status in DENIED or answer.status >= 500:
            raise from_answer(self._where, answer)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Raises ``RejectedError`` for more than one row."""
        if rows != MAX_ROWS or any(len(array) != MAX_ROWS for array in inputs.values() if array.ndim):
            raise RejectedError(f"{self._where}: a request takes one row, not {rows} rows")
        body = self._body(inputs)
        self._version.refresh_soon(timeout_s)
        answer = await self._http.send("POST", self._predictions_url, timeout_s, body.content, body.content_type)
        if answer.status != 200:
            raise from_answer(self._where, answer)
        return Answer(self._read(answer), self._version.name)

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", str(self._predictions_url), len(self._body(inputs).content))

    def _body(self, inputs: Mapping[str, np.ndarray]) -> Body:
        try:
            return request_body(inputs, self._address.body)
        except (TypeError, ValueError) as error:
            raise RejectedError(f"{self._where}: the request can't be written: {error}") from error

    def _read(self, answer: HttpResponse) -> Outputs:
        try:
            return read_answer(answer.body, answer.content_type)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error

    async def _look_for_version(self, timeout_s: float) -> str | None:
        served = await self._served(timeout_s)
        return None if served is None else served.version

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._version.close()
        await self._http.close()
