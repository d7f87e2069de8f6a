"""Proxies from the environment: which host is asked through which, over HTTP and gRPC alike."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import yarl

from tests.clients.wire.replicas import GrpcReplica, HttpReplica
from transforms.clients.base import ClientOptions
from transforms.clients.wire.grpc import GrpcChannel
from transforms.clients.wire.http import HttpConnection
from transforms.clients.wire.proxies import proxy_of
from transforms.clients.wire.status_codes import from_grpc_code
from transforms.errors import ConfigError, ModelError, NotServedError, UnavailableError

TIMEOUT_S = 30.0
Over = Callable[..., Coroutine[Any, Any, None]]
VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine that runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# ---------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("environment", "secure", "http", "grpc"),
    [
        ({}, False, None, None),
        ({"http_proxy": "http://p:1"}, False, "http://p:1", "http://p:1"),
        ({"http_proxy": "http://p:1"}, True, None, None),
        ({"https_proxy": "http://p:1"}, True, "http://p:1", "http://p:1"),
        ({"https_proxy": "http://p:1"}, False, None, None),
        ({"HTTPS_PROXY": "http://p:1"}, True, "http://p:1", "http://p:1"),
        ({"HTTP_PROXY": "http://big:1", "http_proxy": "http://small:1"}, False, "http://small:1", "http://small:1"),
        ({"http_proxy": ""}, False, None, None),
        ({"http_proxy": "p:3128"}, False, "http://p:3128", "http://p:3128"),
        ({"http_proxy": "http://me:secret@p"}, False, "http://me:secret@p:80", "http://me:secret@p:80"),
        ({"http_proxy": "http://[::2]:/"}, False, "http://[::2]:80/", "http://[::2]:80/"),
        ({"https_proxy": "http://p:1", "grpc_proxy": "http://g:1"}, True, "http://p:1", "http://g:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "a,models.test"}, False, None, None),
        ({"http_proxy": "http://p:1", "no_grpc_proxy": "models.test"}, False, "http://p:1", None),
    ],
)
def test_which_variable_counts(
    environment: dict[str, str], secure: bool, http: str | None, grpc: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for expected, found in ((http, proxy_of("models.test", secure)), (grpc, proxy_of("models.test", secure, grpc=True))):
        assert (None if found is None else found.url) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "models.test", True),
        ("models.test", "models.test", True),
        ("models.test", "MODELS.test.", True),
        ("test", "models.test", True),
        (".test", "models.test", True),
        ("models.test:8500", "models.test", True),
        ("odels.test", "models.test", False),
        ("other.test, models.test", "models.test", True),
        (",", "models.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "models.test", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]", "fd00::1", True),
    ],
)
def test_no_proxy(no_proxy: str, host: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_of(host, False) is None) is direct
    assert (proxy_of(host, False, grpc=True) is None) is direct


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_never_asked_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://p:1")
    assert proxy_of(host, False) is proxy_of(host, True, grpc=True) is None


@pytest.mark.parametrize("value", ["http://", "socks5://u:secret@p:1", "http://p:x", "http://u:secret@p:0", "http://p q:1"])
def test_what_names_no_proxy_is_a_mistake(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", value)
    with pytest.raises(
        ConfigError, match=r"http_proxy: names no proxy; the form is http://\[USER:PASSWORD@\]HOST:PORT"
    ) as told:
        proxy_of("models.test", False)
    assert "secret" not in str(told.value)


def test_grpc_has_no_tls_to_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "https://u:secret@p:1")
    found = proxy_of("models.test", True)
    assert found is not None
    assert (found.url, str(found)) == ("https://u:secret@p:1", "the proxy p:1 (https_proxy)")
    assert "secret" not in repr(found)
    with pytest.raises(ConfigError, match="https_proxy: gRPC speaks to a proxy without TLS") as told:
        proxy_of("models.test", True, grpc=True)
    assert "secret" not in str(told.value)


# ---------------------------------------------------------------------- over the wire


class Proxy:
    """A proxy that leads every name to one port of this machine.

    Attributes:
        asked: What was asked for: the method, and the host or URL.
        logins: The logins of the requests.
        refusal: The status line that every request is refused with, if set.
        address: Its ``HOST:PORT``.
    """

    def __init__(self, port: int):
        self.asked: list[tuple[str, str]] = []
        self.logins: list[str] = []
        self.refusal = b""
        self.address = ""
        self._port = port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, asked, _ = head.split(b"\r\n", 1)[0].split(b" ")
        self.asked.append((method.decode(), asked.decode()))
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"proxy-authorization: basic "):
                self.logins.append(base64.b64decode(line.rpartition(b" ")[2]).decode())
        if self.refusal:
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.refusal)
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            back.write(head)
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    host, its_port = server.sockets[0].getsockname()
    proxy.address = f"{host}:{its_port}"
    try:
        yield proxy
    finally:
        server.close()


async def by_http(work: Callable[[Proxy, Callable[[str], Awaitable[bytes]]], Awaitable[None]]) -> None:
    async with HttpReplica("127.0.0.1") as replica, proxy_to(replica.port) as proxy:
        http = HttpConnection("here", False, ClientOptions())

        async def ask(host: str) -> bytes:
            return (await http.send("POST", yarl.URL(f"http://{host}:{replica.port}/m"), TIMEOUT_S, b"x")).body

        await work(proxy, ask)
        await http.close()


async def by_grpc(work: Callable[[Proxy, Callable[[str], Awaitable[bytes]]], Awaitable[None]]) -> None:
    async with GrpcReplica("127.0.0.1") as replica, proxy_to(replica.port) as proxy:

        async def ask(host: str) -> bytes:
            channel = GrpcChannel(f"{host}:{replica.port}", False, ClientOptions(), "here", from_grpc_code)
            try:
                return await channel.call(replica.method, b"x", TIMEOUT_S)
            finally:
                await channel.close()

        await work(proxy, ask)


@pytest.mark.parametrize(("over", "method"), [(by_http, "POST"), (by_grpc, "CONNECT")])
def test_a_server_behind_a_proxy(over: Over, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the proxy's to resolve; this machine is asked directly."""

    async def work(proxy: Proxy, ask: Callable[[str], Awaitable[bytes]]) -> None:
        monkeypatch.setenv("http_proxy", f"http://user:pass@{proxy.address}")
        assert await ask("models.test") == b"127.0.0.1"
        assert proxy.asked[0][0] == method
        assert "models.test:" in proxy.asked[0][1]
        assert set(proxy.logins) == {"user:pass"}
        asked = len(proxy.asked)
        assert await ask("127.0.0.1") == b"127.0.0.1"
        assert len(proxy.asked) == asked

    asyncio.run(over(work))


@pytest.mark.parametrize("over", [by_http, by_grpc])
def test_a_host_that_no_proxy_names(over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked directly, which a name that nobody has can't be."""

    async def work(proxy: Proxy, ask: Callable[[str], Awaitable[bytes]]) -> None:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.setenv("no_proxy", "nowhere.invalid")
        with pytest.raises(UnavailableError):
            await ask("nowhere.invalid")
        assert not proxy.asked

    asyncio.run(over(work))


LOGIN = r": it wants a login: https?_proxy=http://USER:PASSWORD@HOST:PORT"
WRONG_LOGIN = r": it does not accept the login in https?_proxy"
LET_THROUGH = r"; let it through to the server there, or name the host in no_proxy"


async def refused_http(proxy: Proxy, secure: bool) -> None:
    http = HttpConnection("here", secure, ClientOptions())
    try:
        await http.send("POST", yarl.URL(f"{'https' if secure else 'http'}://models.test/m"), TIMEOUT_S, b"x")
    finally:
        await http.close()


async def refused_grpc(proxy: Proxy, secure: bool) -> None:
    channel = GrpcChannel("models.test:8500", secure, ClientOptions(), "here", from_grpc_code)
    try:
        await channel.call("/a/b", b"x", TIMEOUT_S)
    finally:
        await channel.close()


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("ask", [refused_http, refused_grpc])
@pytest.mark.parametrize(
    ("refusal", "login", "kind", "cure"),
    [
        (b"407 Proxy Authentication Required", "", NotServedError, LOGIN),
        (b"407 Proxy Authentication Required", "user:secret@", NotServedError, WRONG_LOGIN),
        (b"403 Forbidden", "", NotServedError, LET_THROUGH),
        (b"502 Bad Gateway", "user:secret@", UnavailableError, LET_THROUGH),
        (b"503 no", "user:secret@", UnavailableError, LET_THROUGH),
    ],
)
def test_a_proxy_that_refuses_is_told(
    ask: Callable[[Proxy, bool], Awaitable[None]],
    secure: bool,
    refusal: bytes,
    login: str,
    kind: type[ModelError],
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it should make a connection (TLS, gRPC), and where it should forward a request (HTTP)."""

    async def run() -> None:
        async with proxy_to(1) as proxy:
            proxy.refusal = refusal + b"\r\nContent-Type: text/html\r\nProxy-Authenticate: Basic realm=x"
            for variable in ("http_proxy", "https_proxy"):
                monkeypatch.setenv(variable, f"http://{login}{proxy.address}")
            await ask(proxy, secure)

    with pytest.raises(kind, match=rf"^here: HTTP {refusal[:3].decode()} of the proxy 127.0.0.1:\d+ .*{cure}") as told:
        asyncio.run(run())
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("header", "is_of_proxy"),
    [
        (b"X-Squid-Error: ERR_CONNECT_FAIL 111", True),
        (b"Proxy-Status: p; error=connection_refused", True),
        (b"Content-Type: text/html; charset=utf-8", True),
        (b"Proxy-Status: p; received-status=503", False),
        (b"Content-Type: application/json", False),
    ],
)
def test_a_forwarding_proxy_answers_for_a_server_that_is_away(
    header: bytes, is_of_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it does not call its own is the server's answer, whose text is for the protocol to read."""

    async def run() -> int:
        async with proxy_to(1) as proxy:
            proxy.refusal = b"503 Service Unavailable\r\nRetry-After: 7\r\n" + header
            monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
            http = HttpConnection("here", False, ClientOptions())
            try:
                return (await http.send("POST", yarl.URL("http://models.test/m"), TIMEOUT_S, b"x")).status
            finally:
                await http.close()

    if not is_of_proxy:
        assert asyncio.run(run()) == 503
        return
    with pytest.raises(
        UnavailableError, match=r"^here: HTTP 503 of the proxy 127.0.0.1:\d+ \(http_proxy\), or of what"
    ) as told:
        asyncio.run(run())
    assert told.value.retry_after_s == 7, "it is waited for"
    assert told.value.not_run


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with proxy_to(1) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        http = HttpConnection("here", False, ClientOptions())
        try:
            await http.send("POST", yarl.URL("http://models.test/m"), TIMEOUT_S, b"x")
        finally:
            await http.close()

    with pytest.raises(UnavailableError, match=r"through the proxy 127.0.0.1:\d+ \(http_proxy\)"):
        asyncio.run(run())


def test_grpc_names_the_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with proxy_to(1) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        channel = GrpcChannel("models.test:8500", False, ClientOptions(), "here", from_grpc_code)
        try:
            await channel.call("/a/b", b"x", TIMEOUT_S)
        finally:
            await channel.close()

    with pytest.raises(UnavailableError, match=r"through the proxy 127.0.0.1:\d+ \(http_proxy\)$"):
        asyncio.run(run())
