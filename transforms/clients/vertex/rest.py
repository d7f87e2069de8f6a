"""Vertex AI over REST: ``POST …/endpoints/ENDPOINT:predict``, with aiohttp and google-auth's tokens.

The asyncio REST transport of google-cloud-aiplatform is not used: it takes credentials of ``google.auth.aio`` only, which
can't be refreshed, and it converts messages by ``json_format``, which is 50 times slower than JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yarl

from transforms.clients.base import ClientOptions
from transforms.clients.vertex.credentials import AccessTokens, token_headers
from transforms.clients.vertex.errors import Reply, VertexRefusal, from_body
from transforms.clients.vertex.transport import Transport
from transforms.clients.vertex.uri import VertexAddress
from transforms.clients.wire.http import Connect, HttpConnection
from transforms.clients.wire.json import loads
from transforms.errors import MalformedAnswerError, UnavailableError
from transforms.exact_json import dumps_exactly
from transforms.printable import counted

_MOST_TEXT = 1000


class RestTransport(Transport):
    """Requests of one endpoint over HTTP.

    Args:
        address: The endpoint and its address.
        options: TLS files, headers and the number of connections.
        tokens: The source of access tokens.
        connect: Makes the connections.
    """

    def __init__(
        self, address: VertexAddress, options: ClientOptions, tokens: AccessTokens, connect: Connect = HttpConnection
    ):
        self._where = str(address)
        self._http = connect(self._where, address.secure, options)
        self._tokens = tokens
        self._url = yarl.URL(address.predict_url, encoded=True)
        self._tail = b"}" if address.parameters is None else b',"parameters":%b}' % address.parameters.encode()
        self._closed = False

    def body(self, instances: Sequence[Any]) -> bytes:
        """See ``Transport``."""
        return b'{"instances":%b%b' % (dumps_exactly(instances), self._tail)

    async def send(self, body: bytes, timeout_s: float) -> Reply | VertexRefusal:
        """See ``Transport``."""
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        tokens, left_s = await token_headers(self._tokens, timeout_s, self._where)
        answer = await self._http.send("POST", self._url, left_s, body, headers=tokens)
        if answer.status == 401:
            self._tokens.refused(tokens)
        return self._read(answer.status, answer.body, answer.retry_after_s)

    def _read(self, status: int, answer: bytes, retry_after_s: float | None) -> Reply | VertexRefusal:
        try:
            document = loads(answer, exact=True)
        except ValueError as error:
            if status == 200:
                raise MalformedAnswerError(
                    f"{self._where}: the answer is no JSON ({counted(len(answer), 'byte')})"
                ) from error
            document = None
        if status != 200 or (isinstance(document, dict) and "error" in document):
            return from_body(status, document, answer[:_MOST_TEXT].decode("utf-8", "replace"), retry_after_s)
        if not isinstance(document, dict):
            raise MalformedAnswerError(f"{self._where}: the answer is no JSON object")
        version, deployed, name = (
            str(document.get(key) or "") for key in ("modelVersionId", "deployedModelId", "modelDisplayName")
        )
        return Reply(document.get("predictions"), version, deployed, name)

    async def close(self) -> None:
        """See ``Transport``."""
        self._closed = True
        await self._http.close()
        await self._tokens.close()
