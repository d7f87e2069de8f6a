"""References to secrets: read where they are used, once, and told by name only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.google_cloud import GoogleCloud
from transforms import secret_manager
from transforms.clients.base import ClientOptions
from transforms.errors import SecretError
from transforms.kafka.config import KafkaConfig
from transforms.secret_manager import access, endpoint, resolve

NAME = "projects/p/secrets/kafka/versions/3"
REGIONAL = "projects/p/locations/europe-west1/secrets/kafka/versions/latest"


class Response:
    def __init__(self, status_code: int, body: Any = None):
        self.status_code, self._body = status_code, body

    def json(self) -> Any:
        return self._body


def good(data: str) -> Response:
    return Response(200, {"payload": {"data": data}})


def no_sleep(_: float) -> None:
    raise AssertionError("slept")


def test_every_reference_in_a_text_is_replaced() -> None:
    assert resolve(f"a ${{secret:{NAME}}} b ${{secret:{REGIONAL}}}", lambda name: name[-3:]) == "a s/3 b est"
    assert resolve("nothing ${HERE}", lambda name: name) == "nothing ${HERE}"


def test_a_secret_is_asked_for_by_its_full_name() -> None:
    asked = []

    def get(path: str) -> Response:
        asked.append(path)
        return good("aHVudGVyMg==")

    assert access(NAME, get, no_sleep) == "hunter2"
    assert asked == [f"v1/{NAME}:access"]


@pytest.mark.parametrize(
    ("status", "cure"), [(403, "roles/secretmanager.secretAccessor"), (404, "no such secret"), (400, "HTTP 400")]
)
def test_what_trying_again_does_not_cure_is_told_at_once(status: int, cure: str) -> None:
    with pytest.raises(SecretError, match=cure) as caught:
        access(NAME, lambda _: Response(status), no_sleep)
    assert NAME in str(caught.value)


def test_an_overloaded_service_is_asked_again() -> None:
    answers: Iterator[Response] = iter([Response(503), Response(429), good("eA==")])
    waits: list[float] = []
    assert access(NAME, lambda _: next(answers), waits.append) == "x"
    assert waits == [1.0, 2.0]


def test_a_service_that_stays_away_is_given_up() -> None:
    def get(_: str) -> Response:
        raise ConnectionRefusedError

    waits: list[float] = []
    with pytest.raises(SecretError, match="does not answer: ConnectionRefusedError"):
        access(NAME, get, waits.append)
    assert len(waits) == 3


@pytest.mark.parametrize("data", ["/w==", "not base64!"])
def test_a_value_that_is_no_text_is_not_shown(data: str) -> None:
    with pytest.raises(SecretError, match="not UTF-8 text") as caught:
        access(NAME, lambda _: good(data))
    assert data not in str(caught.value)


def test_regional_secrets_have_a_service_of_their_own() -> None:
    assert endpoint(NAME, {}) == "https://secretmanager.googleapis.com"
    assert endpoint(REGIONAL, {}) == "https://secretmanager.europe-west1.rep.googleapis.com"
    assert endpoint(NAME, {"SECRET_MANAGER_ENDPOINT": "https://private/"}) == "https://private"


def test_a_secret_does_not_travel_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_MANAGER_ENDPOINT", "http://10.0.0.1")
    secret_manager.read_secret.cache_clear()
    with pytest.raises(SecretError, match="use https"):
        secret_manager.read_secret(NAME)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    with GoogleCloud(tmp_path, {NAME: "hunter2"}) as cloud:
        monkeypatch.setenv("SECRET_MANAGER_ENDPOINT", cloud.url)
        secret_manager.read_secret.cache_clear()
        yield cloud
    secret_manager.read_secret.cache_clear()


def test_properties_that_are_looked_at_before_a_client_is_opened_may_be_secrets_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol of the group, our name in it, and the limit that others are judged by."""
    values = {f"projects/p/secrets/{name}/versions/1": name for name in ("consumer", "team", "500000000")}
    given = ("group.protocol", "client.id", "message.max.bytes")
    properties = (*zip(given, (f"${{secret:{name}}}" for name in values), strict=True), ("fetch.max.bytes", "400000000"))
    secret_manager.read_secret.cache_clear()
    with GoogleCloud(tmp_path, values) as cloud:
        monkeypatch.setenv("SECRET_MANAGER_ENDPOINT", cloud.url)
        config = KafkaConfig("h:1", ("in",), "g", properties=properties)
        assert config.broker_assigns
        assert "session.timeout.ms" not in config.consumer_properties()
        assert config.consumer_properties()["client.id"] == f"team/{config.transactional_id}"
        assert list(config.beyond_memory()) == []
    secret_manager.read_secret.cache_clear()


def test_kafka_properties_hold_references_and_clients_get_values(cloud: GoogleCloud) -> None:
    config = KafkaConfig("h:1", ("in",), "g", properties=(("sasl.password", f"${{secret:{NAME}}}"),))
    assert "hunter2" not in repr(vars(type(config))) + str(config.properties)
    assert config.consumer_properties()["sasl.password"] == "hunter2"
    assert config.producer_properties()["sasl.password"] == "hunter2"
    assert cloud.accessed == [NAME]  # once in a process


def test_headers_of_model_clients(cloud: GoogleCloud) -> None:
    from transforms.clients import open_client

    options = ClientOptions(headers=(("authorization", f"Bearer ${{secret:{NAME}}}"),))
    client: Any = open_client("grpc://h:1/m", options)
    assert client._channel._headers == (("authorization", "Bearer hunter2"),)
    assert cloud.accessed == [NAME]
