"""Vertex AI over REST: ``POST …/endpoints/ENDPOINT:predict``, by aiohttp with google-auth's tokens.

google-cloud-aiplatform has an asyncio REST transport, but that one takes ``google.auth.aio`` credentials only, of which none
can be refreshed, and its messages go through ``json_format``, 50 times slower than JSON.
"""

from __future__ import annotations

import asyncio
import email.utils
import io
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import orjson
import yarl

from transforms.clients.base import ClientOptions
from transforms.clients.tfserving_errors import clean
from transforms.clients.tfserving_json import loads
from transforms.clients.tls_files import ssl_context
from transforms.clients.vertex import Transport
from transforms.clients.vertex_credentials import Tokens
from transforms.clients.vertex_errors import Refusal, Reply, from_body
from transforms.clients.vertex_uri import VertexAddress
from transforms.errors import MalformedAnswerError, TransientError, UnavailableError

_CONNECT_S = 10.0
_MOST_TEXT = 1000
_PIECEWISE_BYTES = 2**20


class RestTransport(Transport):
    """Requests of one endpoint over HTTP.

    Args:
        address: Which endpoint, and where.
        options: TLS files, headers and the number of connections.
        tokens: Where the access tokens come from.
        now: Seconds since the epoch, for a Retry-After that is a date.
    """

    def __init__(self, address: VertexAddress, options: ClientOptions, tokens: Tokens, now: Callable[[], float] = time.time):
        self._address, self._options, self._tokens, self._now = address, options, tokens, now
        self._where = str(address)
        self._url = yarl.URL(address.predict_url, encoded=True)
        self._tail = b"}" if address.parameters is None else b',"parameters":%b}' % address.parameters.encode()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def body(self, instances: Sequence[Any]) -> bytes:
        """See ``Transport``."""
        return b'{"instances":%b%b' % (orjson.dumps(instances), self._tail)

    async def send(self, body: bytes, timeout_s: float) -> Reply | Refusal:
        """See ``Transport``."""
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        session = self._session or self._open_session()
        try:
            async with asyncio.timeout(timeout_s):
                tokens = await self._tokens.headers()
                if session.closed:
                    raise UnavailableError(f"{self._where}: the client was closed")
                # aiohttp writes bytes in one go, a file piece by piece: a large one must not hold up the other requests.
                data = io.BytesIO(body) if len(body) > _PIECEWISE_BYTES else body
                async with session.post(self._url, data=data, headers=tokens, allow_redirects=False) as response:
                    status, answer = response.status, await response.read()
                    retry_after_s = self._retry_after_s(response.headers.get("Retry-After"))
        except aiohttp.ConnectionTimeoutError as error:
            raise UnavailableError(f"{self._where}: no connection in time") from error
        except TimeoutError as error:
            raise TransientError(f"{self._where}: no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            why = "the client was closed" if self._closed else clean(str(error)) or type(error).__name__
            raise UnavailableError(f"{self._where}: {why}") from error
        except aiohttp.ClientError as error:
            raise MalformedAnswerError(f"{self._where}: the answer is no HTTP: {type(error).__name__}") from error
        if status == 401:
            self._tokens.refused(tokens)
        return self._read(status, answer, retry_after_s)

    def _read(self, status: int, answer: bytes, retry_after_s: float | None) -> Reply | Refusal:
        try:
            document = loads(answer)
        except ValueError as error:
            if status == 200:
                raise MalformedAnswerError(f"{self._where}: the answer is no JSON ({len(answer)} bytes)") from error
            document = None
        if status != 200 or (isinstance(document, dict) and "error" in document):
            return from_body(status, document, answer[:_MOST_TEXT].decode("utf-8", "replace"), retry_after_s)
        if not isinstance(document, dict):
            raise MalformedAnswerError(f"{self._where}: the answer is no JSON object")
        version, deployed, name = (
            str(document.get(key) or "") for key in ("modelVersionId", "deployedModelId", "modelDisplayName")
        )
        return Reply(document.get("predictions"), version, deployed, name)

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._options.max_connections, ssl=ssl_context(self._options) if self._address.secure else False
        )
        headers = [("Content-Type", "application/json"), *self._options.headers]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)
        return self._session

    def _retry_after_s(self, value: str | None) -> float | None:
        """Reads a Retry-After header: seconds or a date (RFC 9110, 10.2.3)."""
        if value is None:
            return None
        if value.strip().isdecimal():
            return float(value)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - self._now())
        except ValueError:
            return None  # advice that can't be read is no advice

    async def close(self) -> None:
        """See ``Transport``."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self._tokens.close()
