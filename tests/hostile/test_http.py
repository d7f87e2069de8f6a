"""Malicious HTTP: each answer is an error of the right kind, in bounded time and memory; no prediction, no hang."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from tests.hostile.server import MARGIN_S, TIMEOUT_S, X, bomb, bounded, forever, in_place_of
from transforms.errors import MalformedAnswerError, ModelError, NotServedError, TransientError
from transforms.testing.json_http.stub import JsonStub
from transforms.testing.multi_model_server.stub import TorchServeStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.sagemaker.stub import STUB_CREDENTIALS, SageMakerStub
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.testing.vertex.rest_stub import VertexRestStub

STUBS: list[type[StubServer]] = [TfServingRestStub, OipHttpStub, TorchServeStub, VertexRestStub, JsonStub, SageMakerStub]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What SageMaker's requests are signed with."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STUB_CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STUB_CREDENTIALS.secret_key)


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *headers, status=status) + body


def sends(data: bytes, then: bytes = b"", pause_s: float = 0.0) -> Answer:
    """Sends the data, and ``then`` for as long as somebody reads; without it, hangs up."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if then:
            await forever(writer, then, pause_s)

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


CHUNKED = "Transfer-Encoding: chunked"
DEEP = b"[" * 300_000
HUGE = b"1" + b"0" * 400_000
WRONG: dict[str, tuple[Answer, tuple[type[ModelError], ...]]] = {
    "no answer": (silence, (TransientError,)),
    "hangs up": (sends(b""), (TransientError,)),
    "a head byte by byte": (sends(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05), (TransientError,)),
    "a body byte by byte": (sends(head("Content-Length: 9999"), b" ", 0.05), (TransientError,)),
    "chunks byte by byte": (sends(head(CHUNKED), b"1\r\n \r\n", 0.05), (TransientError,)),
    "a body without end": (sends(head(), b" " * 65536), (MalformedAnswerError,)),
    "chunks without end": (sends(head(CHUNKED), b"10000\r\n" + b" " * 65536 + b"\r\n"), (MalformedAnswerError,)),
    "an error without end": (sends(head(status="503 Busy"), b"x" * 65536), (TransientError,)),
    "headers without end": (sends(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 1000 + b"\r\n"), (ModelError,)),
    "a header without end": (sends(b"HTTP/1.1 200 OK\r\nX-More: ", b"x" * 65536), (ModelError,)),
    "a status line without end": (sends(b"HTTP/1.1 200 ", b"x" * 65536), (ModelError,)),
    "a chunk's extension without end": (sends(head(CHUNKED) + b"1;", b"x" * 65536), (ModelError,)),
    "trailers without end": (sends(head(CHUNKED) + b"0\r\n", b"X: x\r\n" * 1000), (ModelError,)),
    "1xx without end": (sends(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (ModelError,)),
    "103 without end": (sends(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), (ModelError,)),
    "another protocol": (sends(head("Upgrade: x", status="101 Switching Protocols")), (ModelError,)),
    "a length too long": (sends(head("Content-Length: 9999") + b"{}"), (TransientError,)),
    "a length too short": (sends(head("Content-Length: 3") + b'{"predictions": [[1.0]]}'), (MalformedAnswerError,)),
    "a negative length": (sends(head("Content-Length: -1") + b"{}"), (ModelError,)),
    "a length that is none": (sends(head("Content-Length: one") + b"{}"), (ModelError,)),
    "a length of 10^30": (sends(head(f"Content-Length: {10**30}") + b"{}"), (ModelError,)),
    "two lengths": (sends(head("Content-Length: 2", "Content-Length: 20") + b"{}"), (ModelError,)),
    "a length and chunks": (sends(head("Content-Length: 2", CHUNKED) + b"{}"), (ModelError,)),
    "a negative chunk": (sends(head(CHUNKED) + b"-5\r\n{}\r\n0\r\n\r\n"), (ModelError,)),
    "a chunk of a word": (sends(head(CHUNKED) + b"two\r\n{}\r\n0\r\n\r\n"), (ModelError,)),
    "a chunk of 2^80": (sends(head(CHUNKED) + b"F" * 20 + b"\r\n{}"), (ModelError,)),
    "a chunk too short": (sends(head(CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n"), (ModelError,)),
    "a cut chunk": (sends(head(CHUNKED) + b"50\r\n{"), (TransientError,)),
    "no HTTP": (sends(b"\x16\x03\x01\x02\x00\x01\x00\x01" * 64), (ModelError,)),
    "HTTP/0.9": (sends(b'{"predictions": [[1.0]]}'), (ModelError,)),
    "HTTP/9.9": (sends(b"HTTP/9.9 200 OK\r\n\r\n{}"), (ModelError,)),
    "a status of 99999": (sends(whole(b"{}", status="99999 Odd")), (ModelError,)),
    "no content": (sends(head(status="204 No Content")), (ModelError,)),
    "a bomb": (sends(whole(bomb(), "Content-Encoding: gzip")), (MalformedAnswerError,)),
    "a bomb in chunks": (
        sends(head(CHUNKED, "Content-Encoding: deflate"), b"400\r\n" + b"\x78" * 1024 + b"\r\n"),
        (MalformedAnswerError,),
    ),
    "an error that is a bomb": (sends(whole(bomb(), "Content-Encoding: gzip", status="500 No")), (TransientError,)),
    "a redirect to itself": (sends(whole(b"", "Location: /", status="302 Found")), (NotServedError,)),
    "a redirect elsewhere": (
        sends(whole(b"", "Location: http://127.0.0.1:9/steal", status="307 Temporary Redirect")),
        (NotServedError,),
    ),
    "deep lists": (sends(whole(b'{"predictions": ' + DEEP + b"}")), (MalformedAnswerError,)),
    "deep lists that end": (
        sends(whole(b'{"predictions":' + b"[" * 900 + b"1" + b"]" * 900 + b"}")),
        (MalformedAnswerError,),
    ),
    "deep errors": (sends(whole(b'{"error":' + DEEP, status="400 No")), (ModelError,)),
    "no JSON": (sends(whole(b"\xff\xfe{]")), (MalformedAnswerError,)),
    "an empty body": (sends(whole(b"")), (MalformedAnswerError,)),
}
ANY_JSON = {"deep lists that end", "HTTP/0.9", "no content"}
"""What the servers of models without a signature may answer: any JSON value is their prediction, also a nested one."""

TAKES_ANY_JSON = (TorchServeStub, VertexRestStub, JsonStub, SageMakerStub)


def once(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Reads one request, answers it so, and hangs up."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await answer(writer)

    return connection


async def read_request(reader: asyncio.StreamReader) -> None:
    received = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", received)
    await reader.readexactly(int(found[1]) if found else 0)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", STUBS)
def test_each_is_an_error_in_bounded_time_and_memory(kind: type[StubServer], name: str) -> None:
    answer, errors = WRONG[name]
    if name in ANY_JSON and kind in TAKES_ANY_JSON:
        errors = (ModelError,)

    async def run(stub: StubServer) -> ModelError | None:
        async with in_place_of(stub, once(answer)) as client:
            with bounded():
                async with asyncio.timeout(TIMEOUT_S + MARGIN_S):
                    try:
                        await client.predict(X, 1, TIMEOUT_S)
                    except ModelError as error:
                        return error
        return None

    with kind() as stub:
        error = asyncio.run(run(stub))
    if error is None and name in ANY_JSON and kind in TAKES_ANY_JSON:
        return
    assert isinstance(error, errors), f"{type(error).__name__}: {error}"
    assert len(str(error)) < 1100
    assert str(error).isprintable()


@pytest.mark.parametrize("kind", STUBS)
def test_an_errors_text_is_one_short_printable_line(kind: type[StubServer]) -> None:
    text = "\\u001b[31mred\\u0000\\r\\nERROR forged line \\u202e" + "x" * 500_000
    body = f'{{"error": "{text}", "message": "{text}", "code": 400}}'.encode()

    async def run(stub: StubServer) -> str:
        async with in_place_of(stub, once(sends(whole(body, status="400 \x1b[31mNo")))) as client:
            with pytest.raises(ModelError) as caught:
                await client.predict(X, 1, TIMEOUT_S)
            return str(caught.value)

    with kind() as stub:
        said = asyncio.run(run(stub))
    assert said.isprintable()
    assert len(said) < 600


@pytest.mark.parametrize("kind", STUBS)
def test_an_answer_to_another_request_is_never_taken(kind: type[StubServer]) -> None:
    """The server sends two answers to the first request: the second must not become that of the next one."""
    wrong = b'{"predictions": [[666.0]], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [666.0]}]}'
    right = wrong.replace(b"666.0", b"1.5")
    requests = 0

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await read_request(reader)
            requests += 1
            writer.write(whole(right) + (whole(wrong) if requests == 1 else b""))
            await writer.drain()

    async def run(stub: StubServer) -> None:
        async with in_place_of(stub, connection) as client:
            for pause_s in (0.0, 0.2, 0.0):
                try:
                    answer = await client.predict(X, 1, TIMEOUT_S)
                except ModelError:
                    continue
                assert "666" not in str(answer.outputs)
                await asyncio.sleep(pause_s)
        assert requests > 1, "the second request was sent"

    with kind() as stub:
        asyncio.run(run(stub))
