"""Rules of librdkafka's properties. No message holds a value that may be a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.cli.config import Config
from pipeline.cli.flag import Values
from transforms.kafka.config import PROTECTED
from transforms.secret_manager import has_reference


def accepted(config: Config, values: Values) -> Iterator[str]:
    """Librdkafka takes each property and, if so, all of them together."""
    found = dict(config.kafka_properties)
    problems = {name: problem for name, value in found.items() if (problem := property_problem(name, value))}
    yield from (f"--kafka_config {name}: {problem}" for name, problem in problems.items())
    if found and not problems and (refusal := refused_by_librdkafka(without_references(found))):
        yield f"--kafka_config: not accepted by librdkafka: {refusal}"


def property_problem(name: str, value: str) -> str | None:
    """What is wrong with one property, or ``None``."""
    if name in PROTECTED:
        return "is set by a flag, or by the guarantees; leave it out"
    # A reference is resolved where the client is opened; PEM alone is looked into at once, and a reference is none.
    text = None if name.endswith(".pem") and has_reference(value) else refused_by_librdkafka({name: value})
    if text is None or text.startswith("Failed to create"):
        return None  # alone it makes no client (SASL without a mechanism, say): that is for all of them together to show
    if "No such configuration property" in text:
        return "no such librdkafka property"
    # librdkafka names the property and, for a bad choice, the value; a secret is never a bad choice.
    harmless = len(value) < 20 and "password" not in name and "key" not in name
    return "not accepted by librdkafka: " + (text if harmless else "bad value")


def without_references(properties: Mapping[str, str]) -> dict[str, str]:
    """What librdkafka can look at now: a reference is no PEM, and a certificate needs its key."""
    unread = {name for name, value in properties.items() if name.endswith(".pem") and has_reference(value)}
    if unread & {"ssl.certificate.pem", "ssl.key.pem"}:
        unread |= {"ssl.certificate.pem", "ssl.key.pem", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"}
    return {name: value for name, value in properties.items() if name not in unread}


def refused_by_librdkafka(properties: Mapping[str, str]) -> str | None:
    """Why librdkafka makes no client of these properties, in its own words, or ``None``."""
    import confluent_kafka as ck

    try:
        ck.Producer({**properties, "log_level": 0})
    except ck.KafkaException as error:
        return str(error.args[0].str())
    return None
