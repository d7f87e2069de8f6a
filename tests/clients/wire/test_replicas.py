"""One name, several servers: each gets its share, and those that come and go are followed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import yarl

from tests.clients.wire.replicas import GrpcReplica, HttpReplica, free_port
from tests.hostile.http2 import GOAWAY, frame, response, speaks
from transforms.clients.base import ClientOptions
from transforms.clients.wire.addresses import AddressWatch
from transforms.clients.wire.grpc import GrpcChannel, open_channel
from transforms.clients.wire.http import MOST_AGE_S, HttpConnection
from transforms.clients.wire.status_codes import from_grpc_code
from transforms.errors import UnavailableError

TIMEOUT_S = 30.0
ONE, TWO = "127.0.0.1", "127.0.0.2"


class Names:
    """A resolver: the addresses of every name, which the test changes."""

    def __init__(self, *addresses: str):
        self.addresses = addresses
        self.asked = 0

    async def __call__(self, host: str, port: int) -> frozenset[str]:
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror("no such name")
        return frozenset(self.addresses)


class NamedChannel(GrpcChannel):
    """A channel to the addresses that a ``Names`` has when it connects, as gRPC's own resolver would find them."""

    def __init__(self, names: Names, port: int):
        super().__init__(f"models.test:{port}", False, ClientOptions(), "here", from_grpc_code, names, look_s=0.0)
        self._names, self._port = names, port

    def _connect(self) -> Any:
        addresses = ",".join(f"{address}:{self._port}" for address in self._names.addresses)
        return open_channel(f"ipv4:{addresses}", False, ClientOptions())

    async def ask(self) -> str:
        return (await self.call(GrpcReplica.method, b"x", TIMEOUT_S)).decode()


async def until(ask: Callable[[], Awaitable[object]], answered: Callable[[], bool]) -> None:
    """Asks until something has come about."""
    async with asyncio.timeout(TIMEOUT_S):
        while not answered():
            await ask()


async def asked_meanwhile(channel: NamedChannel, replica: GrpcReplica) -> list[asyncio.Task[str]]:
    """Asks, without waiting for answers, until a replica is asked."""
    asked: list[asyncio.Task[str]] = []

    async def ask() -> None:
        asked.append(asyncio.create_task(channel.ask()))
        await asyncio.sleep(0.005)

    await until(ask, lambda: replica.asked > 0)
    return asked


def test_requests_take_turns_over_grpc() -> None:
    async def run() -> None:
        port = free_port()
        async with GrpcReplica(ONE, port) as one, GrpcReplica(TWO, port) as two:
            channel = NamedChannel(Names(ONE, TWO), port)
            await until(channel.ask, lambda: bool(one.asked and two.asked))
            before = one.asked, two.asked
            answers = [await channel.ask() for _ in range(20)]
            assert {answers.count(ONE), answers.count(TWO)} == {10}
            assert (one.asked - before[0], two.asked - before[1]) == (10, 10)
            await channel.close()

    asyncio.run(run())


def test_the_end_of_a_connection_fails_no_request() -> None:
    """A server that ends each connection by GOAWAY soon, as one with a greatest age of connections.

    Without gRPC's own retries one request in some hundreds of these fails.
    """

    async def run() -> None:
        age = (("grpc.max_connection_age_ms", 30), ("grpc.max_connection_age_grace_ms", 30_000))
        async with GrpcReplica(ONE, options=age) as one:
            channel = NamedChannel(Names(ONE), one.port)

            async def ask() -> None:
                while len(one.connections) < 60:
                    assert await channel.ask() == ONE

            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.gather(*(ask() for _ in range(16)))
            await channel.close()

    asyncio.run(run())


def test_what_a_server_has_not_taken_is_sent_again() -> None:
    """A request that crosses with the end of its connection: GOAWAY says that the server has taken none."""

    async def run() -> None:
        refused: list[int] = []

        async def answer(writer: asyncio.StreamWriter, stream: int) -> None:
            if not refused:
                refused.append(stream)
                writer.write(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
            else:
                await response(ONE.encode())(writer, stream)

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await speaks(answer)(reader, writer)
            writer.close()
            ended.release()

        ended = asyncio.Semaphore(0)
        server = await asyncio.start_server(connection, ONE, 0)
        channel = NamedChannel(Names(ONE), server.sockets[0].getsockname()[1])
        assert await channel.ask() == ONE
        assert refused
        await channel.close()
        server.close()
        for _ in range(2):  # the connection that was ended, and the one after it
            await ended.acquire()

    asyncio.run(run())


async def held_by(replica: GrpcReplica, channel: NamedChannel) -> asyncio.Task[str]:
    """A request that a replica has, and does not answer until it may."""
    replica.held.clear()
    asked = replica.asked
    waiting = asyncio.create_task(channel.ask())
    await until(lambda: asyncio.sleep(0), lambda: replica.asked > asked)
    return waiting


def test_a_replica_that_is_added_is_asked_and_one_in_flight_is_not_cut() -> None:
    async def run() -> None:
        port, names = free_port(), Names(ONE)
        async with GrpcReplica(ONE, port) as one, GrpcReplica(TWO, port) as two:
            channel = NamedChannel(names, port)
            await until(channel.ask, lambda: names.asked > 1)
            waiting = await held_by(one, channel)
            names.addresses = (ONE, TWO)
            late = await asked_meanwhile(channel, two)
            assert not waiting.done()
            one.held.set()
            assert await waiting == ONE  # on the connection of before
            assert TWO in await asyncio.gather(*late)
            await channel.close()

    asyncio.run(run())


def test_a_channel_that_is_closed_closes_those_that_it_had_before() -> None:
    async def run() -> None:
        port, names = free_port(), Names(ONE)
        async with GrpcReplica(ONE, port) as one, GrpcReplica(TWO, port) as two:
            channel = NamedChannel(names, port)
            await until(channel.ask, lambda: names.asked > 1)
            waiting = await held_by(one, channel)
            names.addresses = (TWO,)
            late = await asked_meanwhile(channel, two)
            await channel.close()
            await asyncio.wait([waiting, *late])
            assert all(request.exception() is None or "was closed" in str(request.exception()) for request in late)
            with pytest.raises(UnavailableError, match="the client was closed"):
                waiting.result()

    asyncio.run(run())


def test_an_address_is_never_looked_up() -> None:
    async def run() -> None:
        names = Names(ONE)
        async with GrpcReplica(ONE) as one:
            channel = GrpcChannel(f"{ONE}:{one.port}", False, ClientOptions(), "here", from_grpc_code, names, look_s=0.0)
            for _ in range(3):
                await channel.call(one.method, b"x", TIMEOUT_S)
            await channel.close()
        assert not names.asked

    asyncio.run(run())


# ---------------------------------------------------------------------- the watch


def test_only_a_new_address_is_growth() -> None:
    """A lost one is none, and no answer at all is none; one that comes back is."""

    async def run() -> list[bool]:
        names, now = Names(ONE), 0.0
        watch = AddressWatch("models.test", 1, names, 30.0, lambda: now)
        found = []
        for addresses in ((ONE,), (ONE,), (ONE, TWO), (ONE,), (), (ONE, TWO), (ONE, TWO)):
            names.addresses = addresses
            now += 30
            asked = names.asked
            assert not watch.grown()  # it looks now, and a request does not wait for it
            await asyncio.sleep(0)
            found.append(watch.grown())
            assert not watch.grown()  # told once
            assert names.asked == asked + 1  # and not looked again within 30 s
        await watch.close()
        return found

    assert asyncio.run(run()) == [False, False, True, False, False, True, False]


# ---------------------------------------------------------------------- HTTP


class HttpNames:
    """An HTTP connection to a name of two addresses, and a clock."""

    def __init__(self, port: int, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        self._http = HttpConnection("here", False, ClientOptions(), clock=lambda: self.now)
        self._url = yarl.URL(f"http://models.test:{port}/m")
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", self._addresses)

    async def _addresses(self, host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (ONE, TWO)]

    async def ask(self) -> str:
        return (await self._http.send("POST", self._url, TIMEOUT_S, b"x")).body.decode()

    async def close(self) -> None:
        await self._http.close()


def test_connections_take_turns_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        port = free_port()
        async with HttpReplica(ONE, port) as one, HttpReplica(TWO, port) as two:
            names = HttpNames(port, monkeypatch)
            await asyncio.gather(*(names.ask() for _ in range(8)))
            assert (len(one.connections), len(two.connections)) == (4, 4)
            await names.close()

    asyncio.run(run())


def test_a_connection_to_a_name_is_replaced_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request at a time is one connection, and one replica: until then."""

    async def run() -> None:
        port = free_port()
        async with HttpReplica(ONE, port), HttpReplica(TWO, port):
            names = HttpNames(port, monkeypatch)
            first = await names.ask()
            names.now = MOST_AGE_S - 1
            assert await names.ask() == first
            names.now = MOST_AGE_S
            assert await names.ask() == first  # it is found to be old behind this one
            assert await names.ask() != first
            await names.close()

    asyncio.run(run())
