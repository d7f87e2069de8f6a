"""What a listener shows of itself, by listeners that answer as Kafka does, or as nobody should."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transforms.kafka.admin.refused_connection import why_refused
from transforms.kafka.config import KafkaConfig
from transforms.testing.contract.certificates import write_certificates
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub

Answer = Callable[[int], bytes]
"""The body of the answer to a request of this key."""

VERSIONS = struct.pack(">hi", 0, 0)


def no_logins(key: int) -> bytes:
    return VERSIONS if key == 18 else struct.pack(">hi", 34, 0)


def logins(*names: bytes) -> Answer:
    listed = b"".join(struct.pack(">h", len(name)) + name for name in names)
    return lambda key: VERSIONS if key == 18 else struct.pack(">hi", 33, len(names)) + listed


@contextlib.contextmanager
def listening(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A listener; gives its address."""

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error), connection:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                while size := connection.recv(4):
                    request = connection.recv(struct.unpack(">i", size)[0])
                    body = struct.pack(">i", 1) + answer(struct.unpack_from(">h", request)[0])
                    connection.sendall(struct.pack(">i", len(body)) + body)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                serve(server.accept()[0])

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def config(address: str, **properties: str) -> KafkaConfig:
    given = tuple((name.replace("_", "."), value) for name, value in properties.items())
    return KafkaConfig(address, ("t",), "g", properties=given)


def why(address: str, text: str = "", **properties: str) -> str | None:
    return why_refused(config(address, **properties), text)


def context(folder: Path, identity: str, *, wants_client: bool = False) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    made.load_cert_chain(folder / f"{identity}.pem", folder / f"{identity}.key")
    made.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    write_certificates(made)
    return made


@pytest.mark.parametrize(
    ("identity", "trusts", "says"),
    [
        ("server", True, None),
        ("server", False, "of an authority that is not trusted here: name its file by --kafka_config=ssl.ca.location"),
        ("elsewhere", True, "for another host name: use that name in --bootstrap_servers"),
        ("expired", True, "the certificate of the broker has expired"),
    ],
)
def test_each_fault_of_a_certificate_has_its_own_text(folder: Path, identity: str, trusts: bool, says: str | None) -> None:
    files = {"ssl_ca_location": str(folder / "ca.pem")} if trusts else {}
    with listening(no_logins, context(folder, identity)) as address:
        found = why(address, security_protocol="SSL", **files)
    assert found is None if says is None else found is not None and says in found


def test_what_the_user_does_not_want_checked_is_not_checked(folder: Path) -> None:
    ca = {"security_protocol": "SSL", "ssl_ca_location": str(folder / "ca.pem")}
    with listening(no_logins, context(folder, "elsewhere")) as address:
        assert why(address, **ca, ssl_endpoint_identification_algorithm="none") is None
        assert why(address, security_protocol="SSL", enable_ssl_certificate_verification="false") is None


def test_an_authority_given_as_text(folder: Path) -> None:
    with listening(no_logins, context(folder, "server")) as address:
        assert why(address, security_protocol="SSL", ssl_ca_pem=(folder / "ca.pem").read_text()) is None


def test_a_broker_that_wants_a_certificate(folder: Path) -> None:
    """Nothing is said of it where one was given: only librdkafka has shown it."""
    ca = {"security_protocol": "SSL", "ssl_ca_location": str(folder / "ca.pem")}
    alert = "ssl://127.0.0.1:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL"
    assert "wants a certificate of its clients" in (why("h:1", alert, **ca) or "")
    with listening(no_logins, context(folder, "server", wants_client=True)) as address:
        assert "wants a certificate of its clients" in (why(address, **ca) or "wants a certificate of its clients")
        assert why(address, **ca, ssl_certificate_location=str(folder / "client.pem")) is None


@pytest.mark.parametrize(
    ("answer", "protocol", "says"),
    [
        (no_logins, "PLAINTEXT", None),
        (
            no_logins,
            "SASL_PLAINTEXT",
            "nobody logs in at this address of the broker: set --kafka_config=security.protocol",
        ),
        (no_logins, "SSL", "does not speak TLS at this address: set --kafka_config=security.protocol to PLAINTEXT,"),
        (logins(b"PLAIN", b"GSSAPI"), "PLAINTEXT", "to SASL_PLAINTEXT, and sasl.mechanism to one of GSSAPI, PLAIN"),
        (
            logins(b"PLAIN"),
            "SASL_SSL",
            "does not speak TLS at this address: .*security.protocol to SASL_PLAINTEXT",
        ),
        (logins(b"PLAIN"), "SASL_PLAINTEXT", None),
        (logins(b"SCRAM-SHA-256"), "SASL_PLAINTEXT", "sasl.mechanism=PLAIN is not taken here: .* to one of SCRAM-SHA-256"),
    ],
)
def test_another_protocol_than_the_listener_has(answer: Answer, protocol: str, says: str | None) -> None:

    with listening(answer) as address:
        found = why(address, security_protocol=protocol, sasl_mechanism="PLAIN")
    assert found is None if says is None else found is not None and re.search(says, found)


def test_a_listener_with_tls_for_a_client_without(folder: Path) -> None:
    with listening(logins(b"PLAIN"), context(folder, "server")) as address:
        assert "speaks TLS at this address: set --kafka_config=security.protocol to SSL or SASL_SSL" in (why(address) or "")
        found = why(address, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN") or ""
    assert "security.protocol to SASL_SSL," in found


def test_the_broker_that_librdkafka_names_is_asked() -> None:
    with listening(logins(b"PLAIN")) as address:
        found = why("127.0.0.1:1", f"{address}/2: Disconnected", security_protocol="PLAINTEXT")
    assert found is not None
    assert found.startswith(f"{address}: the broker wants a login")


@pytest.mark.parametrize(
    "answer",
    [
        lambda key: b"",
        lambda key: b"\0",
        lambda key: VERSIONS if key == 18 else struct.pack(">hi", 33, 2**31 - 1),
        lambda key: VERSIONS if key == 18 else struct.pack(">hih", 33, 1, -1),
        lambda key: VERSIONS if key == 18 else struct.pack(">hih", 33, 1, 9) + b"\x1b[2J\xffabcd",
    ],
)
def test_an_answer_that_is_none_says_nothing(answer: Answer) -> None:
    with listening(answer) as address:
        assert why(address, security_protocol="PLAINTEXT") is None


def test_nobody_there_or_nobody_who_answers(folder: Path) -> None:
    for protocol in ("PLAINTEXT", "SSL", "SASL_SSL"):
        ca = {"ssl_ca_location": str(folder / "ca.pem")}
        assert why("127.0.0.1:1", security_protocol=protocol, **ca) is None
        assert why("no address", security_protocol=protocol, **ca) is None
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            assert why_refused(config(address, security_protocol=protocol, **ca), timeout_s=0.1) is None


@pytest.mark.parametrize("stub_class", [TfServingRestStub, TfServingGrpcStub])
def test_a_model_server_is_no_broker(stub_class: type[StubServer]) -> None:
    """librdkafka says that the answer is too long, and to raise receive.message.max.bytes."""
    with stub_class() as stub:
        address, said = stub.address, why(stub.address)
    assert said is not None
    assert re.match(rf"{address}: a server that speaks HTTP.* answers at this address, no Kafka broker: give", said)


def test_what_nobody_knows_is_not_named() -> None:
    assert why_of_raw(b"220 mail.example.org ESMTP\r\n") is None


def why_of_raw(greeting: bytes) -> str | None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(greeting)
                        connection.recv(65536)

        threading.Thread(target=greet, daemon=True).start()
        try:
            return why(f"127.0.0.1:{server.getsockname()[1]}")
        finally:
            server.shutdown(socket.SHUT_RDWR)
