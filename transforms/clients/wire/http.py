"""``HttpConnection``: HTTP requests for all REST clients. It translates aiohttp's errors into those of this project.

A name of several addresses is a server of several replicas: new connections take turns over them, and none lives longer than
``MOST_AGE_S``, so that replicas that come, or come back, get their share.
"""

from __future__ import annotations

import io
import re
import resource
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from transforms.answer_body import (
    ACCEPT_ENCODING,
    MAX_ERROR_BYTES,
    NOT_COMPRESSED,
    AnswerBody,
    asks_for_compression,
)
from transforms.clients.base import ClientOptions
from transforms.clients.wire.addresses import is_address
from transforms.clients.wire.proxies import Proxy, proxy_of
from transforms.clients.wire.stand_ins import is_page, refused_by, stand_in
from transforms.clients.wire.status_codes import SpeaksHttp2Error, clean
from transforms.errors import (
    CertificateError,
    ConfigError,
    MalformedAnswerError,
    OverloadedError,
    UnavailableError,
)
from transforms.retry import Deadline, read_retry_after
from transforms.tls import OF_MODEL_SERVER, with_tls_cure

JSON_TYPE = "application/json"
"""The content type of JSON, without a charset: KServe reads a body as JSON only if it has exactly this type."""

MOST_CONNECTIONS = 1024
"""As many as requests may be in flight at all (``adaptive_limit.MOST``): in HTTP/1 each has a connection."""

FILES_SHARE = 4
"""Connections take this part of the files that the process may have open. The rest is for Kafka's connections, the model's
other clients (a thread of Beam has clients of its own), and files."""

MOST_AGE_S = 60.0
"""Seconds after which a connection to a name is not used again: by then the name may mean other replicas."""

_CONNECT_S = 10.0
_LARGE_BYTES = 1 << 20  # aiohttp writes larger bytes at once, which blocks the loop's other requests, and warns of it
_SETTINGS = re.compile(r"""b['"](\\x[0-9a-f]{2}|\\.|[^\\]){3}\\x04(\\x00){5}""")
"""The frame that a server of HTTP/2 begins with (RFC 9113, 3.4), as aiohttp quotes an answer that is no HTTP/1."""

_NO_TIME_S = 1e-6  # aiohttp takes a time-out of 0 for no time-out


def most_connections() -> int:
    """Returns how many connections a client opens at most. Requests above that wait for one, as in a server's queue."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, files // FILES_SHARE))


class HttpResponse(NamedTuple):
    """A response, whatever its status.

    Attributes:
        status: The HTTP status.
        body: The whole body. Of an error (a status other than 2xx), at most ``MAX_ERROR_BYTES`` of it, and nothing of a
            compressed one: the status says what happened.
        retry_after_s: The wait that the server asks for in seconds (Retry-After); ``None`` if it asks for none.
        reason: The text of the status line.
        content_type: The Content-Type header; empty if there was none.
        headers: All headers; a look-up ignores the case of names.
    """

    status: int
    body: bytes
    retry_after_s: float | None
    reason: str
    content_type: str
    headers: Mapping[str, str]


class _Kept:
    """The connections that are used again: not those that are too old, and those after a 5xx if this server takes them.

    Servers on uvicorn (MLServer, KServe) close the connection after a 5xx answer without announcing it: the next request on
    it is cut. Other servers keep it, and a new one for each row that a model fails on costs more than the request does.
    Therefore a connection is kept after a 5xx until a request is cut after one. That request is sent once more, because no
    part of it was answered. From then on each connection is closed after a 5xx.

    Args:
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.keeps = True
        self._clock = clock
        self._since: weakref.WeakKeyDictionary[ResponseHandler, float] = weakref.WeakKeyDictionary()
        self._failed: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()  # those whose last answer was a 5xx

    def answered(self, status: int, protocol: ResponseHandler | None, released: bool, named: bool = False) -> None:
        """A status came on a connection.

        Args:
            status: The status.
            protocol: The connection.
            released: Whether it is back in the pool already.
            named: Whether the server is called by a name, which may have several addresses.
        """
        if protocol is None:
            return
        too_old = named and self._age_s(protocol) >= MOST_AGE_S
        if status < 500:
            self._failed.discard(protocol)
        elif self.keeps:
            self._failed.add(protocol)
        if too_old or (status >= 500 and not self.keeps):
            protocol.force_close()  # takes effect when the whole body is read
            if released:
                protocol.close()

    def _age_s(self, protocol: ResponseHandler) -> float:
        now = self._clock()
        return now - self._since.setdefault(protocol, now)

    def cut(self) -> bool:
        """A request was cut before its answer began; returns whether to send it once more."""
        if not self._failed:
            return False
        self.keeps = False
        for protocol in self._failed:
            protocol.close()
        self._failed.clear()
        return True


def _through(proxy: Proxy | None) -> str:
    return "" if proxy is None else f", through {proxy}"


def _response_class(kept: _Kept) -> type[aiohttp.ClientResponse]:
    class Response(aiohttp.ClientResponse):
        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            protocol = connection.protocol
            await super().start(connection)
            named = not is_address(self.url.host or "")
            kept.answered(self.status, protocol, released=connection.protocol is None, named=named)
            return self

    return Response


class HttpConnection:
    """Connections to one server, opened with the first request. For one asyncio loop.

    Args:
        where: The model and its address, for error messages.
        secure: Whether to use TLS.
        options: TLS files, headers, the largest answer, and the number of connections.
        now: Returns the seconds since the epoch, for a Retry-After that is a date.
        clock: Returns seconds, monotonic, for the time-outs and the age of connections.
    """

    def __init__(
        self,
        where: str,
        secure: bool,
        options: ClientOptions,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._where, self._secure, self._options, self._now, self._clock = where, secure, options, now, clock
        self._inflates = asks_for_compression(options.headers)
        self._session: aiohttp.ClientSession | None = None
        self._kept = _Kept(clock)
        self._proxies: dict[str, Proxy | None] = {}
        self._closed = False

    async def send(
        self,
        method: str,
        url: yarl.URL,
        timeout_s: float,
        body: bytes | None = None,
        content_type: str = JSON_TYPE,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Sends one request and reads its answer.

        Args:
            method: The HTTP method.
            url: The URL. Redirects are not followed.
            timeout_s: The time-out in seconds, from the connection to the last byte of the answer.
            body: The body; ``None`` for none.
            content_type: The Content-Type header.
            headers: Headers of this request, in addition to those of every request.

        Returns:
            The response, whatever its status, if it is the server's.

        Raises:
            UnavailableError: No connection could be made, or it was cut, or the client is closed; or a web page answers
                a request with a body. Other classes, too, where a proxy answers by itself.
            OverloadedError: No answer came within ``timeout_s``.
            MalformedAnswerError: The answer is not HTTP, or compressed without being asked for; a ``SpeaksHttp2Error``
                if it is that of a gRPC server.
            AnswerTooLargeError: The body has more than ``max_answer_bytes``.
            NotServedError: A proxy refuses to connect to the server, or a redirect leads elsewhere.
            ConfigError: A TLS file can't be read, or the environment names a proxy that can't be used.
        """
        proxy = self._proxy_of(url)
        session = self._session or self._open()
        deadline = Deadline(timeout_s, self._clock)
        headers = {"Content-Type": content_type, **(headers or {})}

        def request() -> Any:
            data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body
            left_s = max(deadline.left_s, _NO_TIME_S)
            timeout = aiohttp.ClientTimeout(total=left_s, sock_connect=min(left_s, _CONNECT_S))
            through = None if proxy is None else proxy.url
            return session.request(
                method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False, proxy=through
            )

        cut = False
        try:
            try:
                response = await request()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError) or self._closed or not self._kept.cut():
                    raise
                cut = True
                response = await request()
            async with response:
                retry_after_s = read_retry_after(response.headers.get("Retry-After"), self._now())
                kind = response.headers.get("Content-Type", "")
                answer = await self._body(response)
                page = body is not None and is_page(kind, answer)
                forwards = None if self._secure else proxy  # with TLS it only connects
                if other := stand_in(self._where, url, response.status, response.headers, page, forwards, retry_after_s):
                    raise other
                return HttpResponse(response.status, answer, retry_after_s, response.reason or "", kind, response.headers)
        except aiohttp.ConnectionTimeoutError as error:
            raise UnavailableError(f"{self._where}: no connection in time{_through(proxy)}", not_run=not cut) from error
        except TimeoutError as error:
            raise OverloadedError(f"{self._where}: no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            if self._closed:
                raise UnavailableError(f"{self._where}: the client was closed") from error
            told = OF_MODEL_SERVER.of(str(error)) is not None and self._secure
            shows_identity = self._options.tls_cert_file is not None
            why = with_tls_cure(str(error), shows_identity=shows_identity) if self._secure else str(error)
            refused = CertificateError if told else UnavailableError
            why = f"{self._where}: {clean(why) or type(error).__name__}{_through(proxy)}"
            raise refused(why, not_run=not cut and isinstance(error, aiohttp.ClientConnectorError)) from error
        except aiohttp.ClientHttpProxyError as error:
            if proxy is None:
                raise
            raise refused_by(proxy, self._where, error.status) from None
        except aiohttp.ClientError as error:
            # Not "from error": aiohttp's text quotes the answer.
            if isinstance(error, aiohttp.ClientResponseError) and _SETTINGS.search(error.message):
                raise SpeaksHttp2Error(f"{self._where}: it speaks HTTP/2, as a gRPC port does, not HTTP/1") from None
            raise MalformedAnswerError(f"{self._where}: the answer is no HTTP: {type(error).__name__}") from None

    def _proxy_of(self, url: yarl.URL) -> Proxy | None:
        host = url.host or ""
        if host not in self._proxies:
            self._proxies[host] = proxy_of(host, self._secure)
        return self._proxies[host]

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Reads a body up to the limit. What is not read to its end costs the connection."""
        encoding = response.headers.get("Content-Encoding", "")
        if 200 <= response.status < 300:
            body = AnswerBody(self._where, self._options.max_answer_bytes, encoding, self._inflates)
            async for piece in response.content.iter_any():
                body.add(piece)
            return body.whole()
        if encoding.strip().lower() not in ("", NOT_COMPRESSED):
            return b""
        text = bytearray()
        async for piece in response.content.iter_any():
            text += piece[: MAX_ERROR_BYTES - len(text)]
            if len(text) >= MAX_ERROR_BYTES:
                break
        return bytes(text)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        most = self._options.max_connections or most_connections()
        connector = aiohttp.TCPConnector(limit=most, ssl=self._ssl() if self._secure else False)
        headers = [*self._options.headers, *([] if self._inflates else [(ACCEPT_ENCODING, NOT_COMPRESSED)])]
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, response_class=_response_class(self._kept), auto_decompress=False
        )
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

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``. May be called twice."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


Connect: TypeAlias = Callable[..., HttpConnection]
"""Makes the connections of a client, from what ``HttpConnection`` takes."""
