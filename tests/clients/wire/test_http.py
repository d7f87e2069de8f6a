"""Connections: which are used again, and large bodies. The rest is the contract's, over each protocol."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
import zlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import yarl
from aiohttp import web

from transforms.answer_body import MAX_ERROR_BYTES
from transforms.child_process import free_port
from transforms.clients.base import ClientOptions
from transforms.clients.wire.http import MOST_CONNECTIONS, HttpConnection, most_connections
from transforms.errors import AnswerTooLargeError, MalformedAnswerError, UnavailableError

TIMEOUT_S = 20.0
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def use(
    handle: Handle,
    work: Callable[[HttpConnection, yarl.URL], Awaitable[None]],
    options: ClientOptions = ClientOptions(),  # noqa: B008  # frozen
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Runs ``work`` with a connection to a server that answers every request by ``handle``."""
    asyncio.run(using(handle, work, options, clock))


async def using(
    handle: Handle,
    work: Callable[[HttpConnection, yarl.URL], Awaitable[None]],
    options: ClientOptions,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """As ``use``, inside a loop."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    http = HttpConnection("here", False, options, clock=clock)
    try:
        await work(http, yarl.URL(f"http://{host}:{port}/"))
    finally:
        await http.close()
        await runner.cleanup()


class Answering:
    """Answers with a status, and closes the connection behind a 5xx, unannounced, as uvicorn does; or keeps it.

    Attributes:
        peers: The client's address of each request.
    """

    def __init__(self, status: int, *, closes: bool, in_pieces: bool = False):
        self.status, self._closes, self._in_pieces = status, closes, in_pieces
        self.peers: list[object] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        await request.read()
        if self._closes and self.peers[-1] in self.peers[:-1]:  # the request came too late
            request.transport.abort() if self._in_pieces else request.transport.close()
        if not self._in_pieces:
            return web.Response(status=self.status, body=b"no")
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        await asyncio.sleep(0)
        await response.write(b"no" * 100_000)
        return response


@pytest.mark.parametrize("status", [200, 400, 500, 503])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_connection_is_used_again_whatever_was_answered(status: int, in_pieces: bool) -> None:
    """A new one for each failed request costs more than the request."""
    server = Answering(status, closes=False, in_pieces=in_pieces)

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        for _ in range(5):
            assert (await http.send("POST", url, TIMEOUT_S, b"[]")).status == status

    use(server, work)
    assert len(set(server.peers)) == 1


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("size", [2, 2 << 20])
def test_a_server_that_closes_behind_a_5xx_cuts_one_request_and_that_is_sent_again(in_pieces: bool, size: int) -> None:
    server = Answering(500, closes=True, in_pieces=in_pieces)

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        async def send() -> None:
            assert (await http.send("POST", url, TIMEOUT_S, b"x" * size)).status == 500

        await asyncio.gather(send(), send(), send())
        for _ in range(5):
            await send()

    use(server, work)
    assert len(server.peers) == 8 + 1
    assert len(set(server.peers)) == 8


def test_a_request_that_is_cut_is_not_sent_again_without_a_5xx_before_it() -> None:
    """Its rows may be the cause, and what they cost is counted by the caller."""
    server = Answering(200, closes=True)

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        await http.send("POST", url, TIMEOUT_S, b"[]")
        with pytest.raises(UnavailableError):
            await http.send("POST", url, TIMEOUT_S, b"[]")

    use(server, work)
    assert len(server.peers) == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_request_that_was_cut_may_have_been_worked_on(there: bool) -> None:
    """One that nobody listened for has not."""

    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        with pytest.raises(UnavailableError) as raised:
            await http.send("POST", url if there else url.with_port(free_port()), TIMEOUT_S, b"x")
        assert raised.value.not_run is not there

    use(cut, work)


def test_a_request_that_is_sent_again_has_what_is_left_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the whole of it once more: a deadline above it would pass unseen."""
    # The first request's time begins at 0 and it is sent at 1; the second's begins at 2, it is sent at 4 and again at 9.
    times, totals = iter((0.0, 1.0, 2.0, 4.0, 9.0)), []
    server, real = Answering(500, closes=True), aiohttp.ClientTimeout

    def timeout(total: float, sock_connect: float) -> aiohttp.ClientTimeout:
        totals.append(total)
        return real(total=total, sock_connect=sock_connect)

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        for _ in range(2):
            await http.send("POST", url, TIMEOUT_S, b"[]")

    monkeypatch.setattr(aiohttp, "ClientTimeout", timeout)
    use(server, work, clock=lambda: next(times))
    assert totals == [TIMEOUT_S - 1, TIMEOUT_S - 2, TIMEOUT_S - 7]


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_bodies_of_any_size_arrive_with_their_length_and_type(size: int) -> None:
    """aiohttp warns of bytes above 1 MiB, and warnings are errors here."""
    came = []

    async def handle(request: web.Request) -> web.StreamResponse:
        came.append((request.content_length, request.headers.getall("Content-Type"), await request.read()))
        return web.Response()

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        await http.send("POST", url, TIMEOUT_S, b"x" * size, "image/png")

    use(handle, work)
    assert came == [(size, ["image/png"], b"x" * size)]


# ---------------------------------------------------------------------- answers without end, and bombs

MIB = 1 << 20
ZIPPED = {"Content-Encoding": "gzip"}


def bomb(mebibytes: int) -> bytes:
    """Bytes that gzip inflates to so many mebibytes of zeros."""
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(press.compress(bytes(MIB)) for _ in range(mebibytes)), press.flush()])


class Endless:
    """Answers a body without end, for as long as somebody reads it."""

    def __init__(self, status: int = 200):
        self.status, self.sent = status, 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status, headers={"Retry-After": "7"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while self.sent < 200 * MIB:
                await response.write(b"x" * 65536)
                self.sent += 65536
        return response


def test_a_body_without_end_is_read_up_to_the_limit() -> None:
    server = Endless()

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        with pytest.raises(
            AnswerTooLargeError, match=r"here: the answer has more than 1,048,576 bytes; .*--max_answer_bytes"
        ):
            await http.send("GET", url, TIMEOUT_S)

    use(server, work, ClientOptions(max_answer_bytes=MIB))
    assert server.sent < 20 * MIB, "what the sockets buffer, not all"


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_body_of_just_the_limit_is_taken(length: int) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * (length + int(request.query.get("more", 0))))

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        assert len((await http.send("GET", url, TIMEOUT_S)).body) == length
        with pytest.raises(AnswerTooLargeError):
            await http.send("GET", url.with_query(more=1), TIMEOUT_S)
        assert len((await http.send("GET", url, TIMEOUT_S)).body) == length, "the connection after it is a new one"

    use(handle, work, ClientOptions(max_answer_bytes=length))


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_an_errors_text_without_end_is_cut_and_its_status_counts(status: int) -> None:
    server = Endless(status)

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        answer = await http.send("GET", url, TIMEOUT_S)
        assert (answer.status, len(answer.body), answer.retry_after_s) == (status, MAX_ERROR_BYTES, 7.0)

    use(server, work)
    assert server.sent < 20 * MIB


def compressed(status: int, body: bytes, asked: list[str | None]) -> Handle:
    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Accept-Encoding"))
        return web.Response(status=status, body=body, headers=ZIPPED)

    return handle


def test_a_compressed_answer_is_not_asked_for_and_refused_unread() -> None:
    asked: list[str | None] = []

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        with pytest.raises(MalformedAnswerError, match=r"compressed \('gzip'\); .*--model_header=accept-encoding=gzip"):
            await http.send("GET", url, TIMEOUT_S)

    use(compressed(200, bomb(1), asked), work)
    assert asked == ["identity"]


def test_a_compressed_errors_text_is_left_out() -> None:
    async def work(http: HttpConnection, url: yarl.URL) -> None:
        answer = await http.send("GET", url, TIMEOUT_S)
        assert (answer.status, answer.body) == (503, b"")

    use(compressed(503, bomb(64), []), work)


@pytest.mark.parametrize("name", ["accept-encoding", "Accept-Encoding"])
def test_a_compressed_answer_that_was_asked_for_is_inflated_up_to_the_limit(name: str) -> None:
    asked: list[str | None] = []

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        with pytest.raises(AnswerTooLargeError):
            await http.send("GET", url, TIMEOUT_S)

    use(compressed(200, bomb(2000), asked), work, ClientOptions(max_answer_bytes=MIB, headers=((name, "gzip"),)))
    assert asked == ["gzip"]

    async def small(http: HttpConnection, url: yarl.URL) -> None:
        assert (await http.send("GET", url, TIMEOUT_S)).body == bytes(MIB)

    use(compressed(200, bomb(1), asked), small, ClientOptions(max_answer_bytes=MIB, headers=((name, "gzip"),)))


@pytest.mark.parametrize("value", ["9\x1f", "9" * 400, "soon", "-3", "\x01"])
def test_a_retry_after_that_no_one_can_read_is_no_error(value: str) -> None:
    """On a socket of its own: a server in Python does not send such a header."""

    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: " + value.encode() + b"\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        http = HttpConnection("here", False, ClientOptions())
        try:
            port = server.sockets[0].getsockname()[1]
            with contextlib.suppress(MalformedAnswerError):  # aiohttp may refuse the whole answer
                assert (await http.send("GET", yarl.URL(f"http://127.0.0.1:{port}/"), TIMEOUT_S)).status == 503
        finally:
            await http.close()
            server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("files", "connections"),
    [(1024, 256), (256, 64), (3, 1), (1 << 20, MOST_CONNECTIONS), (resource.RLIM_INFINITY, MOST_CONNECTIONS)],
)
def test_connections_take_a_quarter_of_the_files_that_may_be_open(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, resource.RLIM_INFINITY))
    assert most_connections() == connections


def test_as_many_connections_as_requests_in_flight_and_no_more_than_allowed() -> None:
    """Each request waits here until as many have come as there may be connections; one more waits for one of those."""

    async def most_at_once(options: ClientOptions, requests: int, expected: int) -> None:
        arrived, together, most = 0, asyncio.Event(), 0

        async def handle(request: web.Request) -> web.StreamResponse:
            nonlocal arrived, most
            arrived += 1
            most = max(most, arrived)
            if arrived == expected:
                together.set()
            await together.wait()
            arrived -= 1
            return web.Response(text="x")

        async def work(http: HttpConnection, url: yarl.URL) -> None:
            await asyncio.gather(*(http.send("GET", url, TIMEOUT_S) for _ in range(requests)))

        await using(handle, work, options)
        assert most == expected

    asyncio.run(most_at_once(ClientOptions(), 150, 150))
    asyncio.run(most_at_once(ClientOptions(max_connections=3), 10, 3))


@pytest.mark.parametrize(
    ("method", "status", "content_type", "body", "is_page"),
    [
        ("POST", 200, "text/html; charset=utf-8", "\n<!DOCTYPE html><title>log in</title>", True),
        ("PUT", 201, "Text/HTML", "<html>", True),
        ("POST", 200, "text/html", '{"y": [1]}', False),  # what Flask calls a text that a function returns
        ("POST", 200, "application/json", "<html>", False),
        ("POST", 500, "text/html", "<html>", False),
        ("GET", 200, "text/html", "<html>", False),  # of the metadata: another path, told at the start
    ],
)
def test_a_web_page_is_no_answer_of_the_server(
    method: str, status: int, content_type: str, body: str, is_page: bool
) -> None:
    """Every record would else be a dead letter while somebody else answers in the server's place."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body.encode(), headers={"Content-Type": content_type})

    async def work(http: HttpConnection, url: yarl.URL) -> None:
        sent = None if method == "GET" else b"{}"
        if is_page:
            with pytest.raises(UnavailableError, match=f"HTTP {status} with a web page in place of an answer"):
                await http.send(method, url, TIMEOUT_S, sent)
        else:
            assert (await http.send(method, url, TIMEOUT_S, sent)).status == status

    use(answer, work)
