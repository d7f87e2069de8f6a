"""Access tokens: fetched beside the loop, renewed in time, renewed when refused; and google-auth's own way, for real."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import credentials as google_credentials
from google.auth import exceptions

from tests.clients.tfserving.test_grpc import ONE_ROW, TIMEOUT_S
from transforms.clients.base import ClientOptions
from transforms.clients.vertex.client import VertexClient
from transforms.clients.vertex.credentials import AGAIN_S, AccessTokens, GoogleTokens, NoTokens, tokens_for
from transforms.clients.vertex.grpc import GrpcTransport
from transforms.clients.vertex.rest import RestTransport
from transforms.clients.vertex.transport import Transport
from transforms.clients.vertex.uri import parse
from transforms.errors import ModelError, NotServedError, TransientError, UnavailableError
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import VertexStub

T = TypeVar("T")
STUBS = [VertexGrpcStub, VertexRestStub]
HOUR_S, SOON_S, OVER_S = 3600, 60, -1  # google-auth takes a token for stale in its last 225 s


class Source:
    """Who gives out tokens: t1, t2, …, each valid for ``lives_s``."""

    def __init__(self, lives_s: float = HOUR_S):
        self.lives_s = lives_s
        self.loads = 0
        self.given = 0
        self.threads: set[str] = set()
        self.failure: Exception | None = None
        self.failures = 0
        self.open = threading.Event()
        self.open.set()

    def load(self) -> google_credentials.Credentials:
        self.loads += 1
        self.threads.add(threading.current_thread().name)
        return _Credentials(self)

    def tokens(self, clock: Callable[[], float] = time.monotonic) -> GoogleTokens:
        return GoogleTokens(self.load, lambda: None, clock)


class _Credentials(google_credentials.Credentials):
    def __init__(self, source: Source):
        super().__init__()
        self._source = source

    def refresh(self, request: Any) -> None:
        self._source.threads.add(threading.current_thread().name)
        assert self._source.open.wait(10)
        if self._source.failure is not None:
            self._source.failures += 1
            raise self._source.failure
        self._source.given += 1
        self.token = f"t{self._source.given}"
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.expiry = now + datetime.timedelta(seconds=self._source.lives_s)


def transport(stub: VertexStub, tokens: AccessTokens) -> Transport:
    address = parse(stub.uri())
    kind = GrpcTransport if stub.transport == "grpc" else RestTransport
    return kind(address, ClientOptions(), tokens)


def use(stub: VertexStub, tokens: AccessTokens, work: Callable[[VertexClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with VertexClient(parse(stub.uri()), transport(stub, tokens)) as client:
            return await work(client)

    return asyncio.run(run())


@pytest.mark.parametrize("stub_class", STUBS)
def test_nothing_is_asked_before_the_first_request_and_then_beside_the_loop(stub_class: type[VertexStub]) -> None:
    source = Source()

    async def work(client: VertexClient) -> None:
        assert source.loads == 0
        await asyncio.gather(*(client.predict(ONE_ROW, 1, TIMEOUT_S) for _ in range(20)))

    with stub_class() as stub:
        stub.access_token = "t1"
        use(stub, source.tokens(), work)
        assert ("authorization", "Bearer t1") in stub.faults.last_headers
    assert (source.loads, source.given) == (1, 1)  # once for all that waited
    assert threading.main_thread().name not in source.threads


@pytest.mark.parametrize("stub_class", STUBS)
def test_an_expired_token_is_renewed_before_the_request(stub_class: type[VertexStub]) -> None:
    source = Source(OVER_S)

    async def work(client: VertexClient) -> None:
        for token in ("t1", "t2", "t3"):
            stub.access_token = token
            await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        use(stub, source.tokens(), work)


def test_a_token_about_to_expire_serves_while_it_is_renewed() -> None:
    source, now = Source(SOON_S), 0.0

    async def run() -> None:
        nonlocal now
        tokens = source.tokens(lambda: now)
        assert await tokens.headers() == {"authorization": "Bearer t1"}
        now = AGAIN_S
        source.open.clear()
        assert await tokens.headers() == {"authorization": "Bearer t1"}  # the renewal stands still, and nobody waits for it
        assert await tokens.headers() == {"authorization": "Bearer t1"}
        source.lives_s = HOUR_S
        source.open.set()
        async with asyncio.timeout(TIMEOUT_S):
            headers = await tokens.headers()
            while headers != {"authorization": "Bearer t2"}:
                await asyncio.sleep(0)
                headers = await tokens.headers()
        assert source.given == 2
        await tokens.close()

    asyncio.run(run())


def test_a_failed_renewal_in_the_background_harms_nobody_and_is_not_tried_all_the_time() -> None:
    source, now = Source(SOON_S), 0.0

    async def run() -> None:
        nonlocal now
        tokens = source.tokens(lambda: now)
        await tokens.headers()
        source.failure = exceptions.TransportError("down")
        for attempts in (1, 2, 3):
            now = attempts * AGAIN_S
            async with asyncio.timeout(TIMEOUT_S):
                while source.failures < attempts:
                    assert await tokens.headers() == {"authorization": "Bearer t1"}
                    await asyncio.sleep(0)
            for _ in range(20):
                await tokens.headers()
                await asyncio.sleep(0)
            assert source.failures == attempts
        await tokens.close()

    asyncio.run(run())


@pytest.mark.parametrize("stub_class", STUBS)
def test_a_token_that_the_server_refuses_is_renewed_for_the_next_request(stub_class: type[VertexStub]) -> None:
    source = Source()

    async def work(client: VertexClient) -> None:
        with pytest.raises(NotServedError, match=r"UNAUTHENTICATED.*check the credentials.*roles/aiplatform\.user"):
            await client.predict(ONE_ROW, 1, TIMEOUT_S)
        await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        stub.access_token = "t2"
        use(stub, source.tokens(), work)
    assert source.given == 2


def _of_a_silent_metadata_server() -> Exception:
    """As google.auth.compute_engine raises it: the true error is the cause."""
    with pytest.raises(exceptions.RefreshError) as raised:
        raise exceptions.RefreshError("server unavailable") from exceptions.TransportError("server unavailable")
    error: Exception = raised.value
    return error


def test_a_late_refusal_of_a_token_long_renewed_counts_for_nothing() -> None:
    source = Source()

    async def run() -> None:
        tokens = source.tokens()
        old = await tokens.headers()
        tokens.refused(old)
        assert await tokens.headers() == {"authorization": "Bearer t2"}
        tokens.refused(old)
        assert await tokens.headers() == {"authorization": "Bearer t2"}

    asyncio.run(run())


@pytest.mark.parametrize("stub_class", STUBS)
@pytest.mark.parametrize(
    ("failure", "error", "told"),
    [
        (exceptions.DefaultCredentialsError("were not found"), NotServedError, "gcloud auth application-default login"),
        (exceptions.RefreshError("invalid_grant: revoked"), NotServedError, "invalid_grant: revoked"),
        (exceptions.RefreshError("internal_failure", retryable=True), UnavailableError, "no access token from Google now"),
        (exceptions.TransportError("connection refused"), UnavailableError, "connection refused"),
        (_of_a_silent_metadata_server(), UnavailableError, "server unavailable"),
    ],
)
def test_no_token(stub_class: type[VertexStub], failure: Exception, error: type[ModelError], told: str) -> None:
    source = Source()
    source.failure = failure

    async def work(client: VertexClient) -> None:
        for call in (client.metadata(TIMEOUT_S), client.predict(ONE_ROW, 1, TIMEOUT_S)):
            with pytest.raises(error, match=told) as caught:
                await call
            assert type(caught.value) is error
        source.failure = None  # and as soon as there is one, it works
        await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        use(stub, source.tokens(), work)


@pytest.mark.parametrize("stub_class", STUBS)
def test_waiting_for_a_token_counts_as_waiting(stub_class: type[VertexStub]) -> None:
    source = Source()
    source.open.clear()

    async def work(client: VertexClient) -> None:
        with pytest.raises(TransientError, match="within"):
            await client.predict(ONE_ROW, 1, 0.03)
        source.open.set()  # the others who waited for it get it
        await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        use(stub, source.tokens(), work)
    assert source.given == 1


def test_who_needs_tokens() -> None:
    assert isinstance(tokens_for(False, ()), GoogleTokens)
    assert isinstance(tokens_for(True, ()), NoTokens)
    assert isinstance(tokens_for(False, (("Authorization", "Bearer mine"),)), NoTokens)  # the user's own counts


@pytest.mark.parametrize("stub_class", STUBS)
def test_metadata_without_a_token_in_time_is_unavailable(stub_class: type[VertexStub]) -> None:
    source = Source()
    source.open.clear()

    async def work(client: VertexClient) -> None:
        with pytest.raises(UnavailableError, match="within"):
            await client.metadata(0.03)
        source.open.set()

    with stub_class() as stub:
        use(stub, source.tokens(), work)


@pytest.mark.parametrize("stub_class", STUBS)
def test_a_closed_client_asks_for_no_token(stub_class: type[VertexStub]) -> None:
    source = Source()

    async def work(client: VertexClient) -> None:
        await client.close()
        with pytest.raises(UnavailableError, match="closed"):
            await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        use(stub, source.tokens(), work)
    assert source.loads == 0


@pytest.mark.parametrize("stub_class", STUBS)
def test_closing_just_when_the_token_has_come(stub_class: type[VertexStub]) -> None:
    class Closing(NoTokens):
        async def headers(self) -> dict[str, str]:
            await client.close()
            return {}

    client: VertexClient

    async def run(stub: VertexStub) -> None:
        nonlocal client
        client = VertexClient(parse(stub.uri()), transport(stub, Closing()))
        with pytest.raises(UnavailableError, match="closed"):
            await client.predict(ONE_ROW, 1, TIMEOUT_S)

    with stub_class() as stub:
        asyncio.run(run(stub))


@pytest.mark.parametrize("stub_class", STUBS)
def test_closing_while_a_token_is_waited_for(stub_class: type[VertexStub]) -> None:
    source = Source()
    source.open.clear()

    async def run(stub: VertexStub) -> None:
        client = VertexClient(parse(stub.uri()), transport(stub, source.tokens()))
        request = asyncio.create_task(client.predict(ONE_ROW, 1, TIMEOUT_S))
        await asyncio.sleep(0)
        await client.close()
        source.open.set()
        with pytest.raises(UnavailableError, match="closed"):
            await request

    with stub_class() as stub:
        asyncio.run(run(stub))


def test_application_default_credentials_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth reads a service account's key file, signs with it, and exchanges that for tokens, at a local server."""
    asked: list[dict[str, str]] = []

    async def token(request: web.Request) -> web.StreamResponse:
        asked.append({str(name): str(value) for name, value in (await request.post()).items()})
        return web.json_response({"access_token": f"real{len(asked)}", "expires_in": 1 if len(asked) == 1 else 3600})

    now = 0.0

    async def run(stub: VertexStub) -> None:
        nonlocal now
        app = web.Application()
        app.router.add_post("/token", token)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        key_file = tmp_path / "key.json"
        key_file.write_text(json.dumps(service_account(f"http://127.0.0.1:{runner.addresses[0][1]}/token")))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        try:
            async with VertexClient(parse(stub.uri()), transport(stub, GoogleTokens(clock=lambda: now))) as client:
                stub.access_token = "real1"
                await client.metadata(TIMEOUT_S)
                assert len(asked) == 1
                now = AGAIN_S
                async with asyncio.timeout(TIMEOUT_S):
                    while len(asked) < 2:  # the first one lives for a second, so the next is asked for at once
                        await client.metadata(TIMEOUT_S)
                stub.access_token = "real2"
                async with asyncio.timeout(TIMEOUT_S):
                    while ("authorization", "Bearer real2") not in stub.faults.last_headers:
                        try:
                            await client.predict(ONE_ROW, 1, TIMEOUT_S)
                        except NotServedError:
                            await asyncio.sleep(0)
        finally:
            await runner.cleanup()

    with VertexRestStub() as stub:
        asyncio.run(run(stub))
    assert asked[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


def service_account(token_uri: str) -> dict[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "scorer@project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
