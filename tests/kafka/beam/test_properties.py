"""librdkafka's properties in the words of Java's client."""

from __future__ import annotations

from pathlib import Path

import pytest

from transforms.errors import ConfigError
from transforms.kafka.beam.properties import COMPUTED, RENAMED, SAME, java_consumer, java_problems, java_producer
from transforms.kafka.config import KafkaConfig
from transforms.kafka.librdkafka import refused_by_librdkafka


def config(**properties: str) -> KafkaConfig:
    given = tuple((name.replace("_", "."), value) for name, value in properties.items())
    return KafkaConfig("h:1,h:2", ("in",), "group", properties=given)


def test_what_is_said_without_any_property() -> None:
    """The offsets' safety first: a group.id alone would make Java's client commit on its own."""
    consumer, producer = java_consumer(config()), java_producer(config())
    assert consumer["bootstrap.servers"] == producer["bootstrap.servers"] == "h:1,h:2"
    assert (consumer["group.id"], consumer["enable.auto.commit"]) == ("group", "false")
    assert consumer["isolation.level"] == "read_committed"
    assert (producer["acks"], producer["enable.idempotence"]) == ("all", "true")
    assert "group.id" not in producer


def test_each_client_gets_what_is_its_own() -> None:
    both = config(linger_ms="7", fetch_wait_max_ms="9", client_id="me", message_max_bytes="5")
    consumer, producer = java_consumer(both), java_producer(both)
    assert (consumer["fetch.max.wait.ms"], consumer["client.id"], consumer.get("linger.ms")) == ("9", "me", None)
    assert (producer["linger.ms"], producer["client.id"], producer.get("fetch.max.wait.ms")) == ("7", "me", None)
    assert producer["max.request.size"] == "5"


@pytest.mark.parametrize(
    ("mechanism", "login"),
    [
        ("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule"),
        ("SCRAM-SHA-512", "org.apache.kafka.common.security.scram.ScramLoginModule"),
    ],
)
@pytest.mark.parametrize("name", ["sasl_mechanism", "sasl_mechanisms"])
def test_a_login(mechanism: str, login: str, name: str) -> None:
    """Quotes and backslashes of a password can't end the string that they stand in."""
    found = java_consumer(
        config(**{"security_protocol": "SASL_SSL", name: mechanism, "sasl_username": "al", "sasl_password": 'p"\\;'})
    )
    assert found["sasl.mechanism"] == mechanism
    assert found["sasl.jaas.config"] == f'{login} required username="al" password="p\\"\\\\;";'
    assert "sasl.password" not in found


def test_kerberos() -> None:
    given = {"security_protocol": "SASL_PLAINTEXT", "sasl_kerberos_keytab": "/k", "sasl_kerberos_principal": "me@R"}
    found = java_consumer(config(**given, sasl_kerberos_service_name="kafka"))
    assert 'keyTab="/k" principal="me@R";' in found["sasl.jaas.config"]
    assert found["sasl.kerberos.service.name"] == "kafka"


def test_certificates_travel_as_text(tmp_path: Path) -> None:
    """A worker elsewhere has not the files of this machine."""
    authority, certificate, key = tmp_path / "ca", tmp_path / "cert", tmp_path / "key"
    authority.write_text("CA")
    certificate.write_text("CERT")
    key.write_text("-----BEGIN PRIVATE KEY-----")
    found = java_producer(
        config(
            security_protocol="SSL", ssl_ca_location=str(authority), ssl_certificate_location=str(certificate),
            ssl_key_location=str(key), ssl_key_password="secret", ssl_endpoint_identification_algorithm="none",
        )
    )  # fmt: skip
    assert (found["ssl.truststore.type"], found["ssl.truststore.certificates"]) == ("PEM", "CA")
    assert (found["ssl.keystore.certificate.chain"], found["ssl.keystore.key"]) == ("CERT", "-----BEGIN PRIVATE KEY-----")
    assert found["ssl.key.password"] == "secret"
    assert found["ssl.endpoint.identification.algorithm"] == ""
    assert not [name for name in found if name.endswith(".location")]


def test_what_has_no_counterpart_is_refused_by_name() -> None:
    found = java_problems({"debug": "all", "enable.ssl.certificate.verification": "false", "linger.ms": "1"})
    assert [text.partition(":")[0] for text in found] == ["debug", "enable.ssl.certificate.verification"]
    assert "ssl.ca.location" in found[1]
    with pytest.raises(ConfigError, match="--kafka_config debug: has no counterpart"):
        java_consumer(config(debug="all"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}, "OAUTHBEARER is not translated"),
        ({"security.protocol": "SASL_SSL"}, "sasl.kerberos.keytab"),
        ({"ssl.ca.location": "/nowhere"}, "/nowhere is not a file"),
        ({"ssl.certificate.pem": "x"}, "give both or neither"),
        ({"ssl.certificate.pem": "x", "ssl.key.pem": "-----BEGIN RSA PRIVATE KEY-----"}, "openssl pkcs8"),
        ({"acks": "1"}, "acks: Java's idempotent producer takes all"),
        ({"message.send.max.retries": "0"}, "retries: "),
        ({"max.in.flight": "10"}, "takes 5 at most"),
        ({"queue.buffering.max.ms": "0.5"}, "linger.ms: Java takes whole milliseconds"),
        (
            {"message.timeout.ms": "10000"},
            "linger.ms and request.timeout.ms together at least, 30005",
        ),
    ],
)
def test_what_can_not_be_translated_says_what_to_do(given: dict[str, str], says: str) -> None:
    [text] = java_problems(given)
    assert says in text


def test_what_java_takes_is_let_through() -> None:
    secret = "${secret:projects/p/secrets/key/versions/1}"
    given = {
        "acks": "-1", "linger.ms": "50", "request.timeout.ms": "5000", "delivery.timeout.ms": "5050", "max.in.flight": "5",
        "ssl.certificate.pem": secret, "ssl.key.pem": secret,
    }  # fmt: skip
    assert java_problems(given) == []


def test_no_name_is_in_two_tables() -> None:
    assert not SAME & RENAMED.keys()
    assert not SAME & COMPUTED
    assert not COMPUTED & RENAMED.keys()


def test_every_name_is_librdkafkas() -> None:
    """The tables translate from its words; it knows each of them."""
    refusals = {name: refused_by_librdkafka({name: "\x00"}) or "" for name in {*SAME, *RENAMED, *COMPUTED}}
    assert [name for name, text in refusals.items() if "No such configuration property" in text] == []
