"""Redirects: none is followed, and the error says where each leads, without what may be a secret, and the cure."""

from __future__ import annotations

import asyncio
import http.server

import pytest
import yarl

from tests.http_server import answering
from transforms.clients.base import ClientOptions
from transforms.clients.registry import open_client
from transforms.clients.wire.stand_ins import stand_in
from transforms.errors import NotServedError

ASKED = yarl.URL("http://models.test:8501/v1/models/m:predict")


def told(location: str, status: int = 307) -> str:
    error = stand_in("here", ASKED, status, {"Location": location}, False, None)
    return "" if error is None else str(error)


def ask(uri: str) -> None:
    """Asks for the model's metadata, as a job does at its start."""

    async def metadata() -> None:
        async with open_client(uri, ClientOptions()) as client:
            await client.metadata(20.0)

    asyncio.run(metadata())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_where_a_redirect_leads_and_the_cure(status: int) -> None:
    text = told("https://models.test/v1/models/m:predict", status)
    assert text.startswith(f"here: HTTP {status}: it redirects to https://models.test/v1/models/m:predict, ")
    assert "give --model this scheme, host, port and path" in text


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/v2/m", "http://models.test:8501/v2/m"),
        ("//other.test/m", "http://other.test/m"),
        ("https://me:hidden@other.test/m", "https://other.test/m"),
        ("https://sso.test/login?token=hidden&next=%2Fm#hidden", "https://sso.test/login"),
        ("https://other.test/\x1b[31mred", "https://other.test/"),
        ("http://[hidden", "an address that is none"),
        ("https://other.test/" + "a" * 5000, "https://other.test/aaa"),
    ],
)
def test_what_is_shown_of_it(location: str, shown: str) -> None:
    text = told(location)
    assert f"it redirects to {shown}" in text
    assert "hidden" not in text
    assert "\x1b" not in text
    assert len(text) < 500


def test_a_redirect_to_nowhere_is_the_protocols_to_tell() -> None:
    assert stand_in("here", ASKED, 304, {"Location": "/x"}, False, None) is None
    assert stand_in("here", ASKED, 307, {}, False, None) is None


@pytest.mark.parametrize(
    "model",
    [
        "http://{}/v1/models/m",
        "oip+http://{}/m",
        "mms+http://{}/m",
        "openai+http://{}/m?task=embeddings",
        "mlflow+http://{}",
        "json+http://{}/score?health=/h",
    ],
)
def test_every_protocol_says_it_at_the_start(model: str) -> None:
    def redirect(request: object) -> None:
        request.send_response(308)  # type: ignore[attr-defined]
        request.send_header("Location", "https://models.example:8443/there?key=hidden")  # type: ignore[attr-defined]
        request.send_header("Content-Length", "0")  # type: ignore[attr-defined]
        request.end_headers()  # type: ignore[attr-defined]

    with answering(redirect) as url, pytest.raises(NotServedError) as error:
        ask(model.format(url.removeprefix("http://")))
    assert "HTTP 308: it redirects to https://models.example:8443/there, " in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("model", ["json+http://{}/score?response=$.y", "mms+http://{}/m"])
def test_a_redirect_of_options_says_nothing_of_post(model: str) -> None:
    """What stands before a server may send all that is no POST to a page."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        elsewhere = request.command == "OPTIONS"
        request.send_response(302 if elsewhere else 200)
        if elsewhere:
            request.send_header("Location", "https://models.example/docs")
        request.send_header("Content-Type", "application/json")
        body = b"" if elsewhere else b'{"status": "Healthy"}'
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as url:
        ask(model.format(url.removeprefix("http://")))
