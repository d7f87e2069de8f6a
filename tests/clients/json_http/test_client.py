"""The client of a JSON endpoint: its URI, what it sends, and what it makes of statuses and answers."""

from __future__ import annotations

import dataclasses
import functools
import http.server
from collections.abc import Iterator

import numpy as np
import pytest

from tests.clients import asking
from tests.http_server import answering
from transforms.clients import check_uri, open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.json_http.uri import parse
from transforms.errors import ConfigError, MalformedAnswerError, NotServedError, RejectedError, UnavailableError
from transforms.formats.json_columns import column_texts
from transforms.testing.json_http.stub import REQUEST, RESPONSE, JsonStub
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec

TIMEOUT_S = 20.0
MANY = ClientOptions(request=REQUEST, response=(("", RESPONSE),))


@pytest.fixture
def stub() -> Iterator[JsonStub]:
    with JsonStub() as stub:
        yield stub


use = functools.partial(asking.use, options=MANY)
ask = functools.partial(asking.ask, options=MANY)


@pytest.mark.parametrize(
    ("uri", "url", "name"),
    [
        ("json+http://h/p/score", "http://h/p/score", "score"),
        ("json+https://h:8/p/?health=/up", "https://h:8/p/", "p"),
        ("json+http://h", "http://h/", "h"),
        ("json+http://[::1]:8/a%20b", "http://[::1]:8/a%20b", "a b"),
        ("json+http://h/s?api-version=2&method=put&q=a%26b", "http://h/s?api-version=2&q=a%26b", "s"),
    ],
)
def test_uris(uri: str, url: str, name: str) -> None:
    """The endpoint's own parameters are sent on; ours are not."""
    address = parse(uri)
    assert (str(address.url), address.name) == (url, name)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("json+http:///p", "the host is missing"),
        ("json+http://u:p@h/p", "must not hold a user name or password"),
        ("json+http://h/p?health=up", "health=up: give a path of the server"),
        ("json+http://h/p?method=GET", "method=GET: must be one of POST, PUT, PATCH"),
        ("json+http://h/p?body=json", "body=json: must be bytes or multipart"),
        ("json+http://h/p?part=file", "part names the part of a form"),
        ("json+http://h/p?body=multipart&content_type=image/png", "a multipart form has a content type of its own"),
        ("json+http://h/p?content_type=a%0Ab", "content_type has characters that no header has"),
        ("json+http://h/p?health=/a&health=/b", "health takes one value"),
        ("json+http://h/p?body=", "body takes one value"),
    ],
)
def test_uris_that_can_not_be_used(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert problem in str(caught.value)


def test_method_content_type_and_parameters_are_sent(stub: JsonStub) -> None:
    uri = f"{stub.uri()}&method=PUT&content_type=application/vnd.api%2Bjson&key=v"
    answer = ask(uri, {"x": [1.0]}, {"x": [2.0]})
    assert list(answer.outputs["y"]) == [[2.5], [3.0]]
    assert stub.seen[:3] == ("PUT", "/model?key=v", "application/vnd.api+json")
    assert stub.seen[3] == b'{"options":{"trace":false},"rows":[{"x":[1.0]},{"x":[2.0]}]}'


def test_a_record_as_it_is(stub: JsonStub) -> None:
    """Without a template and a path; more than one row is not sent."""
    assert list(ask(stub.uri(), {"x": [1.0]}, options=ClientOptions()).outputs["y"]) == [[2.5]]
    with pytest.raises(RejectedError, match="a request takes one row, not 2 rows"):
        ask(stub.uri(), {"x": [1.0]}, {"x": [2.0]}, options=ClientOptions())


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ('{"rows": {"$rows": "$row"}}', b'{"rows":[{"id":12345678901234567890123,"x":[1.0]}]}'),
        ('{"rows": {"$rows": {"id": "$row.id"}}}', b'{"rows":[{"id":12345678901234567890123}]}'),
        ('{"model": -99999999999999999999, "rows": {"$rows": "$row.x"}}', b'{"model":-99999999999999999999,"rows":[[1.0]]}'),
    ],
)
def test_integers_beyond_64_bits_are_sent_with_all_digits(request_text: str, expected: bytes) -> None:
    """In the record and in the template; and they are read so in an answer."""
    bodies: list[bytes] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        bodies.append(handler.rfile.read(int(handler.headers.get("Content-Length", 0))))
        body = b'{"y": [{"seen": 98765432109876543210987, "score": 0.5}]}'
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    options = ClientOptions(request=request_text, response=(("", "$.y[*]"),))
    with answering(answer) as url:
        seen = ask(f"json+{url}/p", {"id": 12345678901234567890123, "x": [1.0]}, options=options).outputs
    assert bodies[-1] == expected
    assert seen == {"score": [0.5], "seen": [98765432109876543210987]}
    assert column_texts("seen", seen["seen"])[0] == [b"98765432109876543210987"]


def test_bytes_and_forms(stub: JsonStub) -> None:
    """Bare bytes have a known signature, of one string; a form has the name that the app expects."""
    stub.model = StubModel.of({"x": TensorSpec("float32", (-1, -1))}, {}, lambda i: {"y": i["x"]})
    image = np.array([b'{"x": [7]}'], object)
    bare = f"{stub.uri()}&body=bytes&content_type=image/png"
    answer = use(bare, lambda client: client.predict({"body": image}, 1, TIMEOUT_S), options=ClientOptions())
    assert list(answer.outputs["y"]) == [[7.0]]
    assert stub.seen[2:] == ("image/png", b'{"x": [7]}')
    with pytest.raises(RejectedError, match="422"):  # the stub reads no forms
        ask(f"{stub.uri()}&body=multipart&part=file", {"b64": "AAEC"}, options=ClientOptions())
    assert stub.seen[2] == "multipart/form-data"
    assert b'name="file"; filename="file"' in stub.seen[3]
    assert b"\r\n\r\n\x00\x01\x02\r\n" in stub.seen[3]


def test_a_row_that_the_template_can_not_take_is_rejected(stub: JsonStub) -> None:
    options = dataclasses.replace(MANY, request='{"rows": {"$rows": {"x": "$row.a.x"}}}')
    assert len(ask(stub.uri(), {"a": {"x": [1.0]}}, options=options).outputs["y"]) == 1
    with pytest.raises(RejectedError, match=r"can't be written: \$\.a\.x: nothing at \$\.a$"):
        ask(stub.uri(), {"b": "secret"}, options=options)


def test_is_it_there(stub: JsonStub) -> None:
    """With ``health`` by that; else by the methods of the endpoint, where any answer but 404 says so."""
    bare = stub.uri().partition("?")[0]

    async def nothing(client: ModelClient) -> None:
        pass

    use(bare, nothing)
    with pytest.raises(NotServedError, match="HTTP 404: it has no path /other"):
        use(stub.uri(model="other").partition("?")[0], nothing)
    with pytest.raises(NotServedError, match=r"\?health=/nothing\): HTTP 404"):
        use(f"{bare}?health=/nothing", nothing)
    stub.model.versions = {}
    with pytest.raises(UnavailableError, match="still loading"):
        use(stub.uri(), nothing)


def test_one_value_for_the_whole_answer(stub: JsonStub) -> None:
    """A path without ``[*]`` is matched as an undeclared output: it needs proof by answers of other sizes."""
    options = dataclasses.replace(MANY, response=(("rows", "$.result.rows"),))
    assert ask(stub.uri(), {"x": [1.0]}, {"x": [2.0]}, options=options).unproven_outputs == ("rows",)
    options = dataclasses.replace(MANY, response=(("y", "$.result.rows[*].y"), ("all", "$.result")))
    with pytest.raises(MalformedAnswerError, match="output all is a scalar, without a batch dimension, for 2 rows"):
        ask(stub.uri(), {"x": [1.0]}, {"x": [2.0]}, options=options)


def test_errors_of_fastapi_do_not_repeat_the_record(stub: JsonStub) -> None:
    """It answers 422 with the place, the message and the input."""
    from transforms.clients.wire.error_texts import error_text

    body = b'{"detail":[{"type":"x","loc":["body",0,"amount"],"msg":"Field required","input":{"a":"secret"}}]}'
    assert error_text(body) == "body.0.amount: Field required"


def test_a_template_that_is_none_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="--request: has no place for the record"):
        open_client("json+http://h/p", ClientOptions(request="{}"))
