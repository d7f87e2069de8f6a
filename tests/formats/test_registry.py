"""The registry's client against a registry: what is asked for, what is kept, and every error translated."""

from __future__ import annotations

import gzip
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.formats.decoding import records
from tests.http_server import answering
from transforms.errors import CertificateError, ConfigError, NotServedError, TransientError, UnavailableError
from transforms.formats.bounded_answers import bound_answers
from transforms.formats.options import RegistryConfig
from transforms.formats.registry import RegisteredSchema, Registry, UnknownSchemaError
from transforms.formats.schemas import FramedAvro
from transforms.testing.contract.certificates import write_certificates
from transforms.testing.schema_registry_stub import Reference, SchemaRegistryStub

pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")

SECRET = "s3cret"


@pytest.fixture
def client(registry: SchemaRegistryStub) -> Iterator[Registry]:
    client = Registry(RegistryConfig(registry.url, (("timeout", "0.5"),)))
    yield client
    client.close()


def test_a_schema_by_its_id(registry: SchemaRegistryStub, client: Registry) -> None:
    number = registry.add('"string"', number=1_000_000)
    for _ in range(3):
        assert client.schema(number) == RegisteredSchema("AVRO", '"string"')
    assert registry.requests == [f"/schemas/ids/{number}"], "and it is kept"
    assert client.schema(registry.add('{"type":"object"}', "JSON")).kind == "JSON"


def test_references_come_before_what_refers_to_them(registry: SchemaRegistryStub, client: Registry) -> None:
    """Each once, though two refer to it."""
    registry.add("A", subject="a")
    registry.add("B", subject="b/b", references=[Reference("A", "a", 1)])
    number = registry.add("C", references=[Reference("A", "a", 1), Reference("B", "b/b", 1), Reference("A", "a", 1)])
    found = client.schema(number)
    assert (found.text, list(found.references.items())) == ("C", [("A", "A"), ("B", "B")])


def test_what_many_refer_to_is_asked_for_once(registry: SchemaRegistryStub, client: Registry) -> None:
    """Each of thirty imports all before it: on every path it would be 2**30 questions."""
    known: list[Reference] = []
    for index in range(30):
        number = registry.add(f"S{index}", subject=f"s{index}", references=known)
        known.append(Reference(f"S{index}", f"s{index}", 1))
    found = client.schema(number)
    assert list(found.references) == [f"S{index}" for index in range(29)]
    assert len(registry.requests) == 30


def test_references_in_a_circle_end(registry: SchemaRegistryStub, client: Registry) -> None:
    number = registry.add("A", subject="a", references=[Reference("A", "a", 1)])
    with pytest.raises(UnknownSchemaError, match="circle"):
        client.schema(number)


def test_unknown_ids(registry: SchemaRegistryStub, client: Registry) -> None:
    with pytest.raises(UnknownSchemaError, match="has no schema 99"):
        client.schema(99)
    asked = len(registry.requests)
    with pytest.raises(UnknownSchemaError, match="ids end at 2147483647"):
        client.schema(0xFFFFFFFF)
    assert len(registry.requests) == asked, "the registry would answer as if the address were wrong"
    number = registry.add("A", references=[Reference("B", "nowhere", 1)])
    with pytest.raises(UnknownSchemaError, match=f"schema {number}, or lacks one that it refers to"):
        client.schema(number)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NotServedError), (403, NotServedError), (404, TransientError), (429, TransientError), (500, TransientError),
     (503, TransientError)],
)  # fmt: skip
def test_statuses(registry: SchemaRegistryStub, client: Registry, status: int, kind: type[Exception]) -> None:
    """A 404 without a registry's code is a wrong address or a proxy, and no reason to give a record up."""
    number = registry.add('"string"')
    registry.status = status
    with pytest.raises(kind, match=f"HTTP {status}"):
        client.schema(number)
    assert len(registry.requests) == 1, "trying again is not the client's business"
    with pytest.raises(kind):
        client.check()


def test_a_registry_that_knows_no_guids(registry: SchemaRegistryStub, client: Registry) -> None:
    """Its 404 is that of a path which it does not have, and no reason to wait: it may never have it."""
    answer, guid = registry.answer, "0123abcd-0000-0000-0000-000000000000"

    def older(method: str, path: str, authorization: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        if "guid" in path:
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        return answer(method, path, authorization, body)

    registry.answer = older  # type: ignore[method-assign]
    with pytest.raises(UnknownSchemaError, match="no schemas by GUID; let producers name them by id"):
        client.schema(guid)
    registry.status = 404
    with pytest.raises(TransientError, match="HTTP 404"):
        client.schema(guid)  # nor does it have ids now: it is a wrong address, or a proxy


def test_an_answer_that_is_no_schema(registry: SchemaRegistryStub, client: Registry) -> None:
    for answer in ({}, {"schema": None}, {"schema": {"type": "string"}}):
        registry.answer = lambda *_, answer=answer: (200, answer)  # type: ignore[method-assign]
        with pytest.raises(TransientError):
            client.schema(1)


def test_nobody_there(registry: SchemaRegistryStub, client: Registry) -> None:
    registry.down()
    with pytest.raises(UnavailableError, match="does not answer"):
        client.schema(1)
    registry.up()
    client.check()
    registry.answering.clear()
    with pytest.raises(UnavailableError, match="timed out"):  # after the half second that the client was given
        client.schema(2)


def test_credentials(registry: SchemaRegistryStub, client: Registry) -> None:
    registry.user_info = f"me:{SECRET}"
    number = registry.add('"string"')
    with pytest.raises(NotServedError, match="--schema_registry_config") as caught:
        client.schema(number)
    assert SECRET not in str(caught.value)
    config = RegistryConfig(registry.url, (("basic.auth.user.info", f"me:{SECRET}"),))
    assert SECRET not in repr(config)
    ours = Registry(config)
    assert ours.schema(number).text == '"string"'
    ours.close()


@pytest.mark.parametrize(
    ("identity", "trusts", "shows", "says"),
    [
        ("server", True, True, None),
        ("server", False, True, "of an authority that is not trusted here: .*--schema_registry_config=ssl.ca.location=FILE"),
        ("elsewhere", True, True, "for another host name: use that name in --schema_registry"),
        ("expired", True, True, "has expired: renew it there"),
        ("server", True, False, "wants a certificate of its clients, .*ssl.certificate.location=FILE"),
    ],
)
def test_tls(tmp_path: Path, identity: str, trusts: bool, shows: bool, says: str | None) -> None:
    """The right files work; each fault has a text of its own, with its cure, and is not waited out at the start."""
    write_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.load_cert_chain(tmp_path / f"{identity}.pem", tmp_path / f"{identity}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    files = {"ssl.ca.location": "ca.pem"} if trusts else {}
    files |= {"ssl.certificate.location": "client.pem", "ssl.key.location": "client.key"} if shows else {}
    with SchemaRegistryStub(context) as registry:
        number = registry.add('"string"')
        properties = tuple((name, str(tmp_path / file)) for name, file in files.items())
        client = Registry(RegistryConfig(registry.url, properties))
        try:
            if says is None:
                assert client.schema(number).text == '"string"'
                return
            with pytest.raises(CertificateError, match=says):
                client.schema(number)
        finally:
            client.close()


def test_a_registry_that_speaks_no_tls(registry: SchemaRegistryStub) -> None:
    client = Registry(RegistryConfig(registry.url.replace("http:", "https:")))
    with pytest.raises(CertificateError, match=r"does not speak TLS at this address: .*use http:// in --schema_registry"):
        client.schema(1)
    client.close()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("basic.auth.userinfo", f"me:{SECRET}", "basic.auth.userinfo"),
        ("basic.auth.user.info", SECRET, "username"),
        ("timeout", SECRET, "timeout"),
        ("ssl.ca.location", "/no/such/file", "No such file"),
        ("basic.auth.user.info", f"me:{SECRET}\n", "basic.auth.user.info: the value has a line break .* at its end"),
        ("bearer.auth.token", f"{SECRET}\r\nx: y", "bearer.auth.token: the value has a line break"),
        ("bearer.auth.token", f"ä{SECRET}", "bearer.auth.token: has characters that are not ASCII"),
    ],
)
def test_properties_that_the_client_does_not_take(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Registry(RegistryConfig("http://127.0.0.1:1", ((name, value),)))
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------------- answers without end


def asked(url: str, **options: Any) -> str:
    """Asks for schema 7; returns the error."""
    registry = Registry(RegistryConfig(url, (("timeout", "0.5"),), **options))
    try:
        with pytest.raises(TransientError) as caught:
            registry.schema(7)
    finally:
        registry.close()
    return str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_is_read_up_to_the_limit(status: int) -> None:
    sent = [0]

    def send(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.end_headers()
        while sent[0] < 300 << 20:
            sent[0] += request.wfile.write(bytes(1 << 16))

    with answering(send) as url:
        assert "more than 1,048,576 bytes; raise --max_answer_bytes" in asked(url, max_answer_bytes=1 << 20)
    assert sent[0] < 20 << 20


def test_a_compressed_answer_is_not_asked_for_and_refused_unread() -> None:
    encodings, body = [], gzip.compress(bytes(64 << 20))

    def send(request: http.server.BaseHTTPRequestHandler) -> None:
        encodings.append(request.headers["Accept-Encoding"])
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(send) as url:
        assert "the answer is compressed ('gzip')" in asked(url)
    assert encodings == ["identity"]


def test_an_answer_byte_by_byte_ends_at_the_time_out() -> None:
    """The client's time-out is one of each read, and there is always something to read: such an answer would never end."""
    over = threading.Event()

    def send(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not over.is_set():
            request.wfile.write(b" ")

    with answering(send) as url:
        try:
            assert "no whole answer within 0.5 s" in asked(url, max_answer_bytes=1 << 40)
        finally:
            over.set()


def test_a_client_of_another_make_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert not bound_answers(object(), "here", 1, 1.0)
    assert "its answers are not bounded" in caplog.text


# ---------------------------------------------------------------------- what is known of ids


def test_ids_are_wanted_until_they_are_known() -> None:
    avro = FramedAvro()
    framed = [b"\0\0\0\0\x07\x02a", b"\0\0\0\0\x08\x02a", b"\0\0\0\0\x07\x02b", b"\0\0\0", None, b"", b"{}"]
    assert avro.wanted(records(*framed)) == [7, 8]
    avro.learn(7, RegisteredSchema("AVRO", '"string"'))
    avro.miss(8, UnknownSchemaError("not there"))
    assert avro.read(framed[0] or b"") == "a"
    with pytest.raises(UnknownSchemaError):
        avro.read(framed[1] or b"")
    assert avro.wanted(records(*framed)) == [8], "it may have come meanwhile"
    avro.learn(8, RegisteredSchema("PROTOBUF", ""))
    assert avro.wanted(records(*framed)) == [], "it will never be Avro"
