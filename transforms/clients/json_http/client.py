"""Any JSON endpoint: ``json+http://HOST[:PORT]/PATH``, for FastAPI, BentoML, LitServe, Ray Serve and whatever answers JSON.

``--request`` says how the records are written into a request (``json_bodies/template.py``), ``--response`` where the rows'
answers stand in the answer (``json_bodies/answers.py``). With neither, a record is a request and the answer its prediction.

The endpoint describes nothing, so the signature is not known unless ``--signature`` says it. An answer names no version.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.json_bodies.bodies import Bodies
from transforms.clients.json_http.uri import JsonAddress, parse
from transforms.clients.wire.error_texts import error_text, readable
from transforms.clients.wire.http import Connect, HttpConnection, HttpResponse
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.preflight import find_endpoint
from transforms.clients.wire.status_codes import from_http_status
from transforms.errors import ModelError
from transforms.types import Answer, ModelMetadata

__all__ = ["JsonHttpClient", "open", "parse"]


def open(uri: str, options: ClientOptions) -> JsonHttpClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI or the template is wrong.
    """
    return JsonHttpClient(parse(uri), options)


class JsonHttpClient(ModelClient):
    """A client of one endpoint.

    Args:
        address: The endpoint.
        options: The template and the paths, TLS files, headers and the number of connections.
        connect: Makes the connections.
    """

    def __init__(self, address: JsonAddress, options: ClientOptions, connect: Connect = HttpConnection):
        self._address, self._where = address, str(address)
        self._http = connect(self._where, address.secure, options)
        self._bodies = Bodies(self._where, options, address.form)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. Without ``health`` it asks for the methods of the endpoint (OPTIONS), which runs no model."""
        with as_metadata_errors("is it the path of the endpoint?", refusals_too=False, where=self._where):
            if self._address.health_url is not None:
                answer = await self._http.send("GET", self._address.health_url, timeout_s)
                if not _is_good(answer):
                    raise from_answer(f"{self._where} (?health={self._address.health_url.path})", answer)
            else:
                await find_endpoint(self._http, self._address.url, timeout_s, self._where, from_answer)
        return self._bodies.metadata(self._address.name)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Raises ``RejectedError`` for more than one row if the template takes one."""
        body = self._bodies.request(inputs, rows)
        answer = await self._http.send(self._address.method, self._address.url, timeout_s, body.content, body.content_type)
        if not _is_good(answer):
            raise from_answer(self._where, answer)
        return self._bodies.answer(answer.body, rows)

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        size = len(self._bodies.request(inputs, rows).content)
        return RequestPreview("HTTP", self._address.method, str(self._address.url), size)

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._http.close()


def from_answer(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 2xx. FastAPI's and its like leave the request's values out.

    Args:
        where: The model and its address, for the message.
        answer: The server's answer.
    """
    text = readable(error_text(answer.body)) or answer.reason
    return from_http_status(where, answer.status, text, answer.retry_after_s)


def _is_good(answer: HttpResponse) -> bool:
    return 200 <= answer.status < 300
