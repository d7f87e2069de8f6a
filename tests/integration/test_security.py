"""TLS, mutual TLS and SASL against the real Kafka: the right ones work, each wrong one is told with its cure (status 2)."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.server
import json
import time
from collections.abc import Iterator

import pytest

from tests import topics
from tests.http_server import answering
from tests.integration.process import Job, Scoring, job_factory
from tests.integration.secured import PASSWORD, USER, Secured
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

AT_ONCE = 4
"""Processes side by side: each computes for two seconds, and waits for as many."""


@dataclasses.dataclass(frozen=True)
class Login:
    """A way to get in, or not.

    Attributes:
        listener: Its name; see ``secured.py``.
        properties: The librdkafka properties; ``{folder}`` is that of the certificates, ``{tokens}`` the server of tokens.
        says: What is told; nothing where the login is right.
    """

    listener: str
    properties: dict[str, str]
    says: tuple[str, ...] = ()


def _properties(protocol: str, **more: str) -> dict[str, str]:
    trusts = {} if "SSL" not in protocol else {"ssl.ca.location": "{folder}/ca.pem"}
    given = {name.replace("_", "."): value for name, value in more.items()}
    found = {"security.protocol": protocol, **trusts, **given}
    return {name: value for name, value in found.items() if value}


def _login(mechanism: str, password: str = "${TEST_PASSWORD}", protocol: str = "SASL_SSL") -> dict[str, str]:
    return _properties(protocol, sasl_mechanism=mechanism, sasl_username=USER, sasl_password=password)


def _oidc(secret: str) -> dict[str, str]:
    oidc = {
        "method": "oidc",
        "client.id": USER,
        "client.secret": secret,
        "token.endpoint.url": "{tokens}",
    }
    named = {f"sasl.oauthbearer.{name}": value for name, value in oidc.items()}
    return {**_properties("SASL_SSL", sasl_mechanism="OAUTHBEARER"), **named}


IDENTITY = {"ssl_certificate_location": "{folder}/client.pem", "ssl_key_location": "{folder}/client.key"}
UNSECURED = {"sasl.oauthbearer.config": f"principal={USER}", "enable.sasl.oauthbearer.unsecure.jwt": "true"}

RIGHT = {
    "TLS": Login("TLS", _properties("SSL")),
    "mutual TLS": Login("MUTUAL", _properties("SSL", **IDENTITY)),
    "PLAIN": Login("LOGIN", _login("PLAIN")),
    "SCRAM-SHA-256": Login("LOGIN", _login("SCRAM-SHA-256")),
    "SCRAM-SHA-512": Login("LOGIN", _login("SCRAM-SHA-512")),
    "OAUTHBEARER": Login("LOGIN", _oidc("${TEST_PASSWORD}")),
    "OAUTHBEARER, unsecured": Login("LOGIN", {**_properties("SASL_SSL", sasl_mechanism="OAUTHBEARER"), **UNSECURED}),
}

PROTOCOL = "set --kafka_config=security.protocol to "
REFUSED = "the broker refused our credentials: check sasl.username, sasl.password"
WRONG = {
    "authority": Login(
        "TLS",
        _properties("SSL", ssl_ca_location=""),
        ("of an authority that is not trusted here: name its file by --kafka_config=ssl.ca.location=FILE",),
    ),
    "host name": Login("ELSEWHERE", _properties("SSL"), ("for another host name: use that name in --bootstrap_servers",)),
    "expired": Login("EXPIRED", _properties("SSL"), ("the certificate of the broker has expired: renew it there",)),
    "no client certificate": Login(
        "MUTUAL",
        _properties("SSL"),
        ("wants a certificate of its clients", "--kafka_config=ssl.certificate.location=FILE and ssl.key.location=FILE"),
    ),
    "plain to TLS": Login("TLS", {}, ("speaks TLS", f"{PROTOCOL}SSL or SASL_SSL")),
    "plain login to TLS": Login("LOGIN", _login("PLAIN", protocol="SASL_PLAINTEXT"), (f"{PROTOCOL}SASL_SSL",)),
    "plain to SASL": Login("SASL", {}, ("wants a login", f"{PROTOCOL}SASL_PLAINTEXT, and sasl.mechanism to one of PLAIN")),
    "TLS to SASL over TLS": Login("LOGIN", _properties("SSL"), ("wants a login", f"{PROTOCOL}SASL_SSL")),
    "TLS to plain": Login("PLAIN", _properties("SSL"), ("does not speak TLS at this address", f"{PROTOCOL}PLAINTEXT")),
    "login to TLS": Login("TLS", _login("PLAIN"), ("nobody logs in at this address", f"{PROTOCOL}SSL")),
    "PLAIN": Login("LOGIN", _login("PLAIN", "planted-7c1e"), (REFUSED,)),
    "SCRAM-SHA-256": Login("LOGIN", _login("SCRAM-SHA-256", "planted-7c1e"), (REFUSED,)),
    "SCRAM-SHA-512": Login("LOGIN", _login("SCRAM-SHA-512", "planted-7c1e"), (REFUSED,)),
    "OAUTHBEARER": Login("LOGIN", _oidc("planted-7c1e"), ("no token to log in with", "sasl.oauthbearer.client.secret")),
    "mechanism": Login(
        "SASL",
        _login("SCRAM-SHA-256", protocol="SASL_PLAINTEXT"),
        ("sasl.mechanism=SCRAM-SHA-256 is not taken here: set --kafka_config=sasl.mechanism to one of PLAIN",),
    ),
}


@contextlib.contextmanager
def token_server() -> Iterator[str]:
    """A server of tokens that nobody has signed, for who knows the password; gives its URL."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        knows = request.headers["Authorization"] == f"Basic {known}"
        request.rfile.read(int(request.headers["Content-Length"]))
        given = {"access_token": token(), "token_type": "Bearer", "expires_in": 3600}
        body = json.dumps(given if knows else {"error": "invalid_client"}).encode()
        request.send_response(200 if knows else 401)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as url:
        yield f"{url}/token"


def token() -> str:
    """A JSON Web Token without a signature, good for an hour."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + 3600})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


@pytest.fixture(scope="module")
def tokens() -> Iterator[str]:
    with token_server() as url:
        yield url


@pytest.fixture
def job(secured: Secured, stub: TfServingGrpcStub) -> Iterator[Job]:
    with job_factory(secured.broker.bootstrap) as new_job:
        job = new_job(stub.uri())
        job.produce(range(10))
        yield job


def flags_of(secured: Secured, login: Login, tokens: str) -> list[str]:
    """The flags of a login."""
    places = {"{folder}": str(secured.folder), "{tokens}": tokens}
    given = [f"--bootstrap_servers={secured.address(login.listener)}"]
    for name, value in login.properties.items():
        for place, real in places.items():
            value = value.replace(place, real)
        given.append(f"--kafka_config={name}={value}")
    return given


def started(job: Job, secured: Secured, login: Login, tokens: str, *flags: str) -> Scoring:
    """Starts a process with a login."""
    return job.start(*flags_of(secured, login, tokens), *flags, environ={"TEST_PASSWORD": PASSWORD})


JAVA = ("--runner=PrismRunner", "--kafka_io=beam")
"""Flags of Beam's Java pair."""


def test_the_right_ones_answer_the_records(secured: Secured, stub: TfServingGrpcStub, tokens: str) -> None:
    """Each through ``python -m pipeline``: consumer, producer and admin client."""
    with job_factory(secured.broker.bootstrap) as new_job:
        logins = list(RIGHT.items())
        for at in range(0, len(logins), AT_ONCE):
            running = []
            for name, login in logins[at : at + AT_ONCE]:
                job = new_job(stub.uri())
                job.produce(range(3))
                running.append((name, job, started(job, secured, login, tokens, "--until_end")))
            for name, job, process in running:
                assert process.done().summary["records"] == 3, name
                assert len(topics.read_all(job.bootstrap, job.output)) == 3, name


def test_each_wrong_one_is_told_with_its_cure(secured: Secured, job: Job, tokens: str) -> None:
    """Exit status 2, one line, no secret, nothing consumed; nothing is waited for that no waiting cures."""
    logins, texts = list(WRONG.items()), {}
    for at in range(0, len(logins), AT_ONCE):
        some = logins[at : at + AT_ONCE]
        running = [(name, login, started(job, secured, login, tokens)) for name, login in some]
        for name, login, process in running:
            assert process.wait() == 2, (name, process)
            lines = [line for line in process.stderr.splitlines() if line.startswith("error:")]
            assert len(lines) == 1, (name, process)
            assert not [words for words in login.says if words not in lines[0]], (name, process)
            assert "--bootstrap_servers=" in lines[0], (name, process)
            assert "waiting for Kafka" not in process.stderr, (name, process)
            assert "planted-7c1e" not in process.stdout + process.stderr, (name, process)
            assert "Traceback" not in process.stderr, (name, process)
            texts[name] = lines[0].partition(": ")[2].partition(": ")[2].partition(": ")[2]
    assert len({texts[name] for name in ("authority", "host name", "expired", "no client certificate")}) == 4, texts
    assert job.committed() == {}


def test_each_wrong_one_is_told_before_java_starts(secured: Secured, job: Job, tokens: str) -> None:
    """With Beam's Java pair, too: by the native client, in the same words.

    Each in a process of its own: in this one, many clients that failed side by side left memory that crashed later tests.
    """
    logins = list(WRONG.items())
    for at in range(0, len(logins), AT_ONCE):
        some = logins[at : at + AT_ONCE]
        running = [(name, login, started(job, secured, login, tokens, *JAVA)) for name, login in some]
        for name, login, process in running:
            says = login.says if name != "OAUTHBEARER" else ("is not translated for Java's client; use --kafka_io=native",)
            assert process.wait() == 2, (name, process)
            assert not [words for words in says if words not in process.stderr], (name, process)
            assert "planted-7c1e" not in process.stdout + process.stderr, (name, process)
            assert process.stdout == "", (name, process)
            assert all(line.startswith("error: --") for line in process.stderr.splitlines()[:-1]), (name, process)
    assert job.committed() == {}
