"""HTTP connections to one server: every failure to get an answer is one of ``transforms.errors``; a status is an answer."""

from __future__ import annotations

import dataclasses
import email.utils
import ssl
import time
from collections.abc import Callable, Mapping

import aiohttp
import yarl
from aiohttp.connector import Connection

from transforms.clients.base import ClientOptions
from transforms.clients.tfserving_errors import clean
from transforms.errors import ConfigError, MalformedAnswerError, TransientError, UnavailableError

_CONNECT_S = 10.0
_NO_TIME_S = 1e-6  # aiohttp takes a time limit of 0 for none


@dataclasses.dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back.

    Attributes:
        status: The HTTP status.
        body: The body.
        headers: The headers; names in any case.
        retry_after_s: How long the server asked to wait, if it did.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    retry_after_s: float | None


class _LastOnFailure(aiohttp.ClientResponse):
    """A 5xx is the last answer of its connection.

    Servers on uvicorn (MLServer, KServe) close the connection behind one, without saying so. The next request on it would
    be cut, and that is most likely the caller's probe of whether the server still answers others: a row that the server
    fails on would look like an outage for ever.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        await super().start(connection)
        if self.status >= 500 and protocol is not None:
            protocol.force_close()  # once all of the body is read
            if connection.protocol is None:  # it came with the headers, and the connection is back in the pool
                protocol.close()
        return self


class HttpConnection:
    """Connections to one server, opened with the first request.

    Args:
        secure: Whether to speak TLS.
        options: TLS files, headers and the number of connections.
        where: The model and its address, for messages.
        now: Seconds since the epoch, for a Retry-After that is a date.
    """

    def __init__(self, secure: bool, options: ClientOptions, where: str, now: Callable[[], float] = time.time):
        self._secure, self._options = secure, options
        self._where = where
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(
        self,
        method: str,
        url: yarl.URL,
        body: bytes | None,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Sends one request; redirects are not followed.

        Args:
            method: The HTTP method.
            url: Where to.
            body: The body, JSON unless ``headers`` say otherwise.
            timeout_s: How long everything may take.
            headers: Of this request, beside those of every request.

        Raises:
            UnavailableError: Nobody answers, or the connection was cut.
            TransientError: No answer in time.
            MalformedAnswerError: The answer is no HTTP.
            ConfigError: A TLS file can't be read.
        """
        session = self._session or self._open_session()
        timeout_s = timeout_s if timeout_s > 0 else _NO_TIME_S
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_S))
        try:
            async with session.request(
                method, url, data=body, timeout=timeout, allow_redirects=False, headers=headers
            ) as response:
                retry_after_s = self._retry_after_s(response.headers.get("Retry-After"))
                return HttpAnswer(response.status, await response.read(), response.headers, retry_after_s)
        except aiohttp.ConnectionTimeoutError as error:
            raise UnavailableError(f"{self._where}: no connection in time") from error
        except TimeoutError as error:
            raise TransientError(f"{self._where}: no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            if self._closed:
                raise UnavailableError(f"{self._where}: the client was closed") from error
            raise UnavailableError(f"{self._where}: {clean(str(error)) or type(error).__name__}") from error
        except aiohttp.ClientError as error:
            raise MalformedAnswerError(f"{self._where}: the answer is no HTTP: {type(error).__name__}") from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        connector = aiohttp.TCPConnector(limit=self._options.max_connections, ssl=self._ssl() if self._secure else False)
        headers = [("Content-Type", "application/json"), *self._options.headers]
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, response_class=_LastOnFailure)
        return self._session

    def _ssl(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.tls_ca_file)
            if options.tls_cert_file:
                context.load_cert_chain(options.tls_cert_file, options.tls_key_file)
        except OSError as error:  # ssl.SSLError is one
            names = ", ".join(f"{n}={getattr(options, n)}" for n in ("tls_ca_file", "tls_cert_file", "tls_key_file"))
            raise ConfigError([f"{names}: can't be read: {error.strerror or type(error).__name__}"]) from error
        return context

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
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
