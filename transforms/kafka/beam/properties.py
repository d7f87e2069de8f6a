"""Translates librdkafka's properties to those of Kafka's Java client, for ``--kafka_io=beam``.

The same ``--kafka_config`` serves both implementations of Kafka. Most names are the same; the tables below have the others.
A property without a counterpart is refused by name: leaving it out silently would change the job. Sources: librdkafka's
CONFIGURATION.md; Kafka's consumer and producer configurations (3.9); KIP-651 for keys and certificates as PEM.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transforms.errors import ConfigError
from transforms.kafka.beam.java import in_jaas, provider_properties
from transforms.kafka.config import CONSUMER_ONLY, PRODUCER_ONLY, KafkaConfig
from transforms.kafka.msk import AWS_MSK_IAM, by_iam
from transforms.secret_manager import has_reference
from transforms.text_files import NotTextError, read_text

SAME = frozenset(
    {
        "acks", "batch.size", "check.crcs", "client.dns.lookup", "client.id", "client.rack", "compression.type",
        "connections.max.idle.ms", "delivery.timeout.ms", "fetch.max.bytes", "fetch.min.bytes", "heartbeat.interval.ms",
        "isolation.level", "linger.ms", "max.in.flight.requests.per.connection", "max.partition.fetch.bytes",
        "max.poll.interval.ms", "metadata.max.age.ms", "reconnect.backoff.max.ms", "reconnect.backoff.ms",
        "request.timeout.ms", "retries", "retry.backoff.max.ms", "retry.backoff.ms", "sasl.kerberos.service.name",
        "sasl.mechanism", "security.protocol", "session.timeout.ms", "socket.connection.setup.timeout.ms",
    }
)  # fmt: skip

RENAMED = {
    "compression.codec": "compression.type",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "fetch.wait.max.ms": "fetch.max.wait.ms",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "message.max.bytes": "max.request.size",
    "message.send.max.retries": "retries",
    "message.timeout.ms": "delivery.timeout.ms",
    "queue.buffering.max.ms": "linger.ms",
    "request.required.acks": "acks",
    "sasl.mechanisms": "sasl.mechanism",
    "socket.receive.buffer.bytes": "receive.buffer.bytes",
    "socket.send.buffer.bytes": "send.buffer.bytes",
    "topic.metadata.refresh.interval.ms": "metadata.max.age.ms",
}

_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}

COMPUTED = frozenset(
    {
        "sasl.username", "sasl.password", "sasl.kerberos.keytab", "sasl.kerberos.principal", "ssl.ca.location", "ssl.ca.pem",
        "ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.pem", "ssl.key.password",
        "ssl.keystore.location", "ssl.keystore.password", "ssl.endpoint.identification.algorithm",
    }
)  # fmt: skip
"""Properties that are combined to one Java property."""

_WHY = {
    "enable.ssl.certificate.verification": "Java's client always verifies: give the authority by ssl.ca.location",
    "partition.assignment.strategy": "partitions are placed by the Beam runner, not by the group",
    "transaction.timeout.ms": "Beam's Java sink writes without transactions",
}

CONSUMER_DEFAULTS = {
    "auto.offset.reset": "earliest",  # for a group without offsets; --start_from sets others before the job starts
    "enable.auto.commit": "false",  # Kafka's default with a group.id would commit offsets before the outputs are written
    "fetch.max.wait.ms": "50",
    "isolation.level": "read_committed",
    "max.poll.records": "5000",
}
PRODUCER_DEFAULTS = {
    "acks": "all",
    "compression.type": "lz4",
    "enable.idempotence": "true",
    "linger.ms": "5",  # only collects requests while a bundle runs: it ends with a flush, which ignores linger
    "max.request.size": "100000000",  # the broker's limit counts, not the client's default of 1 MB
}


def java_problem(name: str) -> str | None:
    """Returns why a librdkafka property can't be used with Java's client, or ``None``."""
    if name in SAME or name in RENAMED or name in COMPUTED:
        return None
    why = f": {_WHY[name]}" if name in _WHY else ""
    return f"has no counterpart in Kafka's Java client{why}; leave it out, or use --kafka_io=native"


def java_problems(properties: Mapping[str, str]) -> list[str]:
    """Returns what is wrong with a set of properties. Each problem begins with the property's name."""
    found = [f"{name}: {problem}" for name in properties if (problem := java_problem(name))]
    found += _producer_problems({RENAMED.get(name, name): value for name, value in properties.items()})
    try:
        _login(properties)
        _tls(properties)
    except ConfigError as error:
        found += error.mistakes
    return found


def _producer_problems(given: Mapping[str, str]) -> list[str]:
    """Returns what Java's idempotent producer would refuse, so that it is found here and not in the worker."""
    found = []
    if given.get("acks", "all") not in ("all", "-1"):
        found.append("acks: Java's idempotent producer takes all; leave it out")
    if given.get("retries") == "0":
        found.append("retries: Java's idempotent producer has to try again; leave it out")
    if _whole(given, "max.in.flight.requests.per.connection", 5) > 5:
        found.append("max.in.flight.requests.per.connection: Java's idempotent producer takes 5 at most")
    if "linger.ms" in given and not given["linger.ms"].isdecimal():
        found.append("linger.ms: Java takes whole milliseconds")
        return found
    least = _whole(given, "linger.ms", int(PRODUCER_DEFAULTS["linger.ms"])) + _whole(given, "request.timeout.ms", 30_000)
    if _whole(given, "delivery.timeout.ms", least) < least:
        found.append(f"delivery.timeout.ms: Java wants linger.ms and request.timeout.ms together at least, {least}")
    return found


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    value = given.get(name, "")
    return int(value) if value.isdecimal() else default  # librdkafka has refused other texts already


def java_consumer(config: KafkaConfig) -> dict[str, str]:
    """Returns the properties of the Java consumer.

    Raises:
        ConfigError: A property can't be translated.
    """
    return {**CONSUMER_DEFAULTS, **_common(config, PRODUCER_ONLY), "group.id": config.group_id}


def java_producer(config: KafkaConfig) -> dict[str, str]:
    """Returns the properties of the Java producer.

    Raises:
        ConfigError: A property can't be translated.
    """
    return {**PRODUCER_DEFAULTS, **_common(config, CONSUMER_ONLY)}


def _common(config: KafkaConfig, but: tuple[str, ...]) -> dict[str, str]:
    properties = dict(config.properties)
    if problems := java_problems(properties):
        raise ConfigError([f"--kafka_config {problem}" for problem in problems])
    kept = {name: value for name, value in properties.items() if name not in COMPUTED and not name.startswith(but)}
    renamed = {RENAMED.get(name, name): value for name, value in kept.items()}
    given = {**renamed, **_login(properties), **_tls(properties), "bootstrap.servers": config.bootstrap_servers}
    return {**given, **provider_properties(given.values())}


def _login(properties: Mapping[str, str]) -> dict[str, str]:
    """Returns the JAAS configuration of the SASL login."""
    if by_iam(properties):
        raise ConfigError([f"sasl.mechanism: {AWS_MSK_IAM} is not translated for Java's client; use --kafka_io=native"])
    mechanism = (properties.get("sasl.mechanism") or properties.get("sasl.mechanisms") or "GSSAPI").upper()
    if not properties.get("security.protocol", "").lower().startswith("sasl_"):
        return {}
    if mechanism == "GSSAPI":
        keytab, principal = properties.get("sasl.kerberos.keytab"), properties.get("sasl.kerberos.principal")
        if not keytab or not principal:
            raise ConfigError(["sasl.mechanism: GSSAPI needs sasl.kerberos.keytab and sasl.kerberos.principal with Java"])
        login = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true"
        return {"sasl.jaas.config": f"{login} keyTab={_quoted(keytab)} principal={_quoted(principal)};"}
    if mechanism not in _LOGIN:
        raise ConfigError([f"sasl.mechanism: {mechanism} is not translated for Java's client; use --kafka_io=native"])
    user, password = properties.get("sasl.username", ""), properties.get("sasl.password", "")
    return {
        "sasl.jaas.config": f"{_LOGIN[mechanism]} required username={_quoted(user)} password={_quoted(password)};",
    }


def _quoted(text: str) -> str:
    return '"' + in_jaas(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _tls(properties: Mapping[str, str]) -> dict[str, str]:
    """Returns the TLS properties, with keys and certificates as text: a remote worker has no files of this machine."""
    found: dict[str, str] = {}
    authorities = _pem(properties, "ssl.ca")
    if authorities:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": authorities}
    certificate, key = _pem(properties, "ssl.certificate"), _pem(properties, "ssl.key")
    if bool(certificate) != bool(key):
        raise ConfigError(["ssl.certificate.location and ssl.key.location: give both or neither"])
    if certificate and key:
        if not has_reference(key) and "BEGIN PRIVATE KEY" not in key and "BEGIN ENCRYPTED PRIVATE KEY" not in key:
            raise ConfigError(["ssl.key.location: Java reads PKCS#8 only; convert: openssl pkcs8 -topk8 -in OLD -out NEW"])
        found |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": certificate, "ssl.keystore.key": key}
    elif properties.get("ssl.keystore.location"):
        found |= {"ssl.keystore.type": "PKCS12", "ssl.keystore.location": properties["ssl.keystore.location"]}
        found |= {"ssl.keystore.password": properties.get("ssl.keystore.password", "")}
    if "ssl.key.password" in properties:
        found["ssl.key.password"] = properties["ssl.key.password"]
    verified = properties.get("ssl.endpoint.identification.algorithm")
    if verified is not None:
        found["ssl.endpoint.identification.algorithm"] = "" if verified == "none" else verified
    return found


def _pem(properties: Mapping[str, str], name: str) -> str | None:
    if f"{name}.pem" in properties:
        return properties[f"{name}.pem"]
    path = properties.get(f"{name}.location")
    if path is None:
        return None
    if not Path(path).is_file():
        raise ConfigError([f"{name}.location: {path} is not a file; Java's client wants a file of PEM certificates"])
    try:
        return read_text(path)
    except NotTextError as error:
        raise ConfigError([f"{name}.location: {path}: {error}"]) from error
