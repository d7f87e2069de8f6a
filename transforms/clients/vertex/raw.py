"""Vertex AI's ``:rawPredict``: the request that the container itself takes, and its own answer: ``vertex://…?raw=json``.

For containers without ``instances`` and ``predictions``: MLflow, vLLM, whatever a team has made. Vertex AI passes bodies,
content types and the container's answers on as they are, and adds headers that name the deployed model. What is in the
bodies is said by ``--request`` and ``--response``, as with ``json+http://``.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/rawPredict. As the rest of
this package, it was not run against the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import yarl

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.json_bodies.bodies import Bodies
from transforms.clients.json_bodies.form import Form
from transforms.clients.vertex.credentials import AccessTokens, token_headers
from transforms.clients.vertex.errors import VertexRefusal, from_body
from transforms.clients.vertex.uri import VertexAddress
from transforms.clients.wire.error_texts import error_text, readable
from transforms.clients.wire.http import HttpConnection, HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.request_size import check_size
from transforms.clients.wire.row_body import Body
from transforms.clients.wire.status_codes import DENIED, from_http_status
from transforms.errors import ModelError, OverloadedError, UnavailableError
from transforms.headers import DEPLOYED_MODEL
from transforms.printable import MOST_SAID, shortened
from transforms.types import Answer, ModelMetadata

_DEPLOYED_MODEL = "X-Vertex-AI-Deployed-Model-Id"


class RawClient(ModelClient):
    """A client of one endpoint's container.

    Args:
        address: The endpoint and its address.
        form: What a body is.
        options: The template and the paths, TLS files, headers and the number of connections.
        tokens: The source of access tokens.

    Raises:
        ConfigError: The template is wrong.
    """

    def __init__(self, address: VertexAddress, form: Form, options: ClientOptions, tokens: AccessTokens):
        self._address, self._form, self._tokens = address, form, tokens
        self._where = str(address)
        self._http = HttpConnection(self._where, address.secure, options)
        self._bodies = Bodies(self._where, options, form)
        self._url = yarl.URL(address.predict_url, encoded=True)
        self._closed = False
        self._metadata_requests = 0

    @property
    def metadata_requests(self) -> int:
        """See ``ModelClient``."""
        return self._metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. An endpoint publishes no signature.

        It sends an empty request. Whatever the container makes of it, the address, the credentials and the endpoint are then
        right.
        """
        with as_metadata_errors("is it Vertex AI's API?", refusals_too=False, where=self._where):
            self._metadata_requests += 1
            answer = await self._send(Body(b"", self._form.content_type), timeout_s)
            error = None if _is_good(answer) else self._error(answer)
            if error is not None and not _is_of_content(answer, error):
                raise error
        return self._bodies.metadata(self._address.endpoint)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. A request above the endpoint's size limit raises ``RequestTooLargeError`` and is not sent."""
        answer = await self._send(self._request(inputs, rows), timeout_s)
        if not _is_good(answer):
            raise self._error(answer)
        found = self._bodies.answer(answer.body, rows)
        deployed = answer.headers.get(_DEPLOYED_MODEL)
        if deployed:
            found.headers = ((DEPLOYED_MODEL, shortened(deployed, MOST_SAID).encode()),)
        return found

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", self._address.predict_url, len(self._request(inputs, rows).content))

    def _request(self, inputs: Mapping[str, np.ndarray], rows: int) -> Body:
        body = self._bodies.request(inputs, rows)
        check_size(self._where, len(body.content), rows, self._address.max_request_bytes)
        return body

    async def _send(self, body: Body, timeout_s: float) -> HttpResponse:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        tokens, left_s = await token_headers(self._tokens, timeout_s, self._where)
        answer = await self._http.send("POST", self._url, left_s, body.content, body.content_type, tokens)
        if answer.status == 401:
            self._tokens.refused(tokens)
        return answer

    def _error(self, answer: HttpResponse) -> ModelError:
        refusal = _googles(answer)
        if refusal is not None:
            return refusal.error(self._where)
        text = readable(error_text(answer.body)) or answer.reason
        return from_http_status(self._where, answer.status, text, answer.retry_after_s)

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        self._closed = True
        await self._http.close()
        await self._tokens.close()


def _is_good(answer: HttpResponse) -> bool:
    return 200 <= answer.status < 300


def _googles(answer: HttpResponse) -> VertexRefusal | None:
    """Reads a refusal in Google's form; ``None`` for an error of the container's own, which may repeat the record."""
    try:
        document: Any = loads(answer.body)
    except ValueError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("status"), str) or error.get("code") != answer.status:
        return None
    return from_body(answer.status, document, "", answer.retry_after_s)


def _is_of_content(answer: HttpResponse, error: ModelError) -> bool:
    """Whether the container refused or failed on the empty request. The endpoint is then reachable and serves a model."""
    refusal = _googles(answer)
    if refusal is not None:
        return refusal.is_of_content
    return answer.status not in (*DENIED, 404) and not isinstance(error, UnavailableError | OverloadedError)
