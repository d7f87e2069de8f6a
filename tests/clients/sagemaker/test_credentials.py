"""AWS credentials: found beside the loop, renewed in time, read again when AWS refuses them; and botocore's chain."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore import credentials as of_botocore
from botocore import exceptions

from tests.clients.asking import ask
from transforms.aws import load_default
from transforms.clients.base import ClientOptions
from transforms.clients.sagemaker.client import SageMakerClient
from transforms.clients.sagemaker.credentials import AGAIN_S, AwsCredentials, current_within
from transforms.clients.sagemaker.uri import parse
from transforms.clients.wire.json_rows import as_instances
from transforms.errors import ModelError, NotServedError, OverloadedError, UnavailableError
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.json_http.app import REQUEST, RESPONSE
from transforms.testing.sagemaker.stub import SageMakerStub

T = TypeVar("T")
MANY = ClientOptions(request=REQUEST, response=(("", RESPONSE),))
HOUR_S, SOON_S, OVER_S = 3600.0, 700.0, -1.0  # botocore refreshes in the last 900 s, and insists on it in the last 600


class Source:
    """Who gives out credentials: k1, k2, …, each valid for ``lives_s``; as keys that never expire with ``None``."""

    def __init__(self, lives_s: float | None = HOUR_S):
        self.lives_s = lives_s
        self.loads = self.given = 0
        self.threads: set[str] = set()
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def load(self) -> Any:
        self.loads += 1
        if self.lives_s is None:
            given = self._give()
            return of_botocore.Credentials(given["access_key"], given["secret_key"], given["token"])
        return of_botocore.DeferredRefreshableCredentials(self._give, "test")

    def _give(self) -> dict[str, Any]:
        self.open.wait()
        self.threads.add(threading.current_thread().name)
        if self.failure is not None:
            raise self.failure
        self.given += 1
        over = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.lives_s or 0)
        return {
            "access_key": f"k{self.given}",
            "secret_key": "s",
            "token": f"t{self.given}",
            "expiry_time": over.isoformat(),
        }

    def credentials(self, clock: Callable[[], float] = lambda: 0.0) -> AwsCredentials:
        return AwsCredentials(self.load, clock)


def run(work: Callable[[AwsCredentials], Awaitable[T]], credentials: AwsCredentials) -> T:
    async def whole() -> T:
        try:
            return await work(credentials)
        finally:
            await credentials.close()

    return asyncio.run(whole())


async def renewed() -> None:
    """Waits for what goes on in the background."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others
    await asyncio.wait(others)


async def key(credentials: AwsCredentials) -> str:
    return str((await credentials.current()).access_key)


def test_many_requests_share_one_search_in_a_thread() -> None:
    source = Source()

    async def work(credentials: AwsCredentials) -> list[str]:
        source.open.clear()
        waiting = asyncio.gather(*(key(credentials) for _ in range(10)))
        await asyncio.sleep(0)  # they wait, and the loop goes on
        source.open.set()
        return await waiting

    assert run(work, source.credentials()) == ["k1"] * 10
    assert (source.loads, source.given) == (1, 1)
    assert threading.current_thread().name not in source.threads


def test_those_that_expire_soon_are_renewed_in_the_background() -> None:
    """Requests go on with the old ones, and a failure there is no request's."""
    source, now = Source(SOON_S), [0.0]

    async def work(credentials: AwsCredentials) -> None:
        assert await key(credentials) == "k1"
        source.failure = ValueError("not now")
        now[0] += AGAIN_S
        assert await key(credentials) == "k1"
        assert await key(credentials) == "k1", "it is tried once in AGAIN_S"
        await renewed()
        source.failure, source.lives_s = None, HOUR_S
        now[0] += AGAIN_S
        assert await key(credentials) == "k1"
        await renewed()
        assert await key(credentials) == "k2"

    run(work, source.credentials(lambda: now[0]))


def test_after_a_failed_start_they_are_looked_for_again() -> None:
    source = Source()

    async def work(credentials: AwsCredentials) -> str:
        source.failure = exceptions.EndpointConnectionError(endpoint_url="http://169.254.169.254")
        with pytest.raises(UnavailableError, match="no AWS credentials now: Could not connect"):
            await credentials.current()
        source.failure = None
        return await key(credentials)

    assert run(work, source.credentials()) == "k1"


def test_refused_ones_are_read_again_once() -> None:
    source = Source(None)

    async def work(credentials: AwsCredentials) -> None:
        first = await credentials.current()
        credentials.refused(first)
        assert await key(credentials) == "k2"
        credentials.refused(first)  # of a request that was sent before
        assert await key(credentials) == "k2"

    run(work, source.credentials())


def _refused(code: str) -> Exception:
    error: Exception = exceptions.ClientError({"Error": {"Code": code, "Message": "no"}}, "AssumeRole")
    return error


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (_refused("AccessDenied"), NotServedError, "no AWS credentials: An error occurred"),
        (_refused("Throttling"), UnavailableError, "no AWS credentials now: "),
        (exceptions.MetadataRetrievalError(error_msg="busy"), UnavailableError, "no AWS credentials now: "),
        (exceptions.ProfileNotFound(profile="p"), NotServedError, "AWS_PROFILE"),
        (RuntimeError("the refreshed credentials are still expired"), NotServedError, "still expired"),
    ],
)
def test_errors_of_the_chain(failure: Exception, kind: type[ModelError], said: str) -> None:
    source = Source()
    source.failure = failure
    with pytest.raises(kind, match=said):
        run(key, source.credentials())


def test_none_at_all() -> None:
    with pytest.raises(NotServedError, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
        run(key, AwsCredentials(lambda: None))


def test_a_sick_process_is_no_answer_of_aws() -> None:
    source = Source()
    source.failure = MemoryError()
    with pytest.raises(MemoryError):
        run(key, source.credentials())


def test_waiting_ends_with_the_request_and_with_the_client() -> None:
    source = Source()

    async def work(credentials: AwsCredentials) -> None:
        source.open.clear()
        try:
            with pytest.raises(OverloadedError, match="endpoint e: no AWS credentials within 0"):
                await current_within(credentials, 0, "endpoint e")
            waiting = asyncio.create_task(credentials.current())
            await asyncio.sleep(0)
            await credentials.close()
            with pytest.raises(UnavailableError, match="closed"):
                await waiting
        finally:
            source.open.set()

    run(work, source.credentials())


# ---- a client whose credentials change


def test_a_client_goes_on_when_its_credentials_have_expired() -> None:
    """AWS refuses them, they are read again, and the request is sent once more."""
    source = Source(None)
    with SageMakerStub() as stub:
        client = SageMakerClient(parse(stub.uri()), MANY, source.credentials())

        async def work() -> None:
            async with client:
                for at in (1, 2):
                    stub.credentials = stub.credentials._replace(access_key=f"k{at}", secret_key="s", token=f"t{at}")
                    answer = await client.predict(as_instances([{"x": [1.0]}]), 1, TIMEOUT_S)
                    assert list(answer.outputs["y"]) == [[2.5]]

        asyncio.run(work())
        assert (stub.signatures, source.loads) == (2, 2)


def test_the_same_ones_again_are_not_sent_again(aws: Path) -> None:
    with SageMakerStub() as stub:
        stub.expired = True
        with pytest.raises(NotServedError, match=r"ExpiredTokenException.*renew the AWS credentials"):
            ask(stub.uri(), {"x": [1.0]}, options=MANY)
        assert (stub.signatures, stub.came) == (0, 1)


# ---- botocore's chain


def test_a_file_that_is_written_anew(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tools for single sign-on do every hour."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "work")

    def write(name: str) -> None:
        (aws / "credentials").write_text(f"[work]\naws_access_key_id = {name}\naws_secret_access_key = s\n")

    async def work(credentials: AwsCredentials) -> None:
        write("first")
        found = await credentials.current()
        assert found.access_key == "first"
        write("second")
        assert await key(credentials) == "first"
        credentials.refused(found)
        assert await key(credentials) == "second"

    run(work, AwsCredentials(lambda: load_default("eu-west-1")))


def test_a_process_that_gives_credentials(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    over = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
    given = {"Version": 1, "AccessKeyId": "p1", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": over}
    (aws / "given.json").write_text(json.dumps(given))
    (aws / "give.py").write_text("import sys, pathlib; print(pathlib.Path(sys.argv[1]).read_text())")
    (aws / "config").write_text(f"[default]\ncredential_process = {sys.executable} {aws}/give.py {aws}/given.json\n")
    assert run(key, AwsCredentials(lambda: load_default("eu-west-1"))) == "p1"
