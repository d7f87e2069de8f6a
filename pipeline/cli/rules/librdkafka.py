"""Rules of librdkafka's properties. No message holds a value that may be a secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from pipeline.cli.config import Config
from pipeline.cli.flag import Values
from transforms.kafka import msk
from transforms.kafka.config import ASSIGN_GROUP, CONSUMER_PROTOCOL, GROUP_PROTOCOL, KafkaConfig
from transforms.kafka.librdkafka import NO_SUCH_PROPERTY, refused_by_librdkafka
from transforms.kafka.protected import protected_problem
from transforms.secret_manager import has_reference


def accepted(config: Config, values: Values) -> Iterator[str]:
    """Librdkafka takes each property and, if so, all of them together. MSK's login by IAM is put into its words before."""
    found: Mapping[str, str] = dict(config.kafka_properties)
    of_login = dict(msk.problems(found, config.bootstrap_servers))
    found = msk.as_librdkafka_has_it(found)
    problems = {name: problem for name, value in found.items() if (problem := property_problem(name, value))} | of_login
    yield from (f"--kafka_config {name}: {problem}" for name, problem in problems.items())
    if not found or problems or "kafka_config" in values.partial:  # what is missing may be among the wrong ones
        return
    refusal = refused_by_librdkafka(without_references(found))
    if refusal := refusal or (None if config.with_java else refused_by_clients(config)):
        yield f"--kafka_config: {_in_words(refusal)}"
    if found.get(GROUP_PROTOCOL, "").lower() == CONSUMER_PROTOCOL and (
        config.with_java or config.assignment != ASSIGN_GROUP
    ):
        yield (
            f"--kafka_config {GROUP_PROTOCOL}: {CONSUMER_PROTOCOL} is for --assignment=group and --kafka_io=native; here no "
            "group assigns the partitions: leave it out"
        )


def _in_words(refusal: str) -> str:
    if "SASL mechanism GSSAPI" in refusal:  # librdkafka's default, which its text does not say; its cure is a compiler's
        return (
            "sasl.mechanism: SASL wants one, as the broker has it: --kafka_config=sasl.mechanism=PLAIN, SCRAM-SHA-256, "
            "SCRAM-SHA-512 or OAUTHBEARER (GSSAPI, which is Kerberos and the default, is not in this build of librdkafka)"
        )
    return f"not accepted by librdkafka: {refusal}"


def property_problem(name: str, value: str) -> str | None:
    """What is wrong with one property, or ``None``."""
    if problem := protected_problem(name, value):
        return problem
    # A reference is resolved when the client is opened. librdkafka parses only PEM at once, and a reference is not PEM.
    text = None if name.endswith(".pem") and has_reference(value) else refused_by_librdkafka({name: value})
    if text is None or text.startswith("Failed to create"):
        return None  # needs other properties (SASL without a mechanism, say): checked with all of them
    if NO_SUCH_PROPERTY in text:
        return "no such librdkafka property"
    if has_reference(value):
        return "is a word or a number of librdkafka's, which must be known at the start, and no secret: write it out"
    # librdkafka names the property and, for a bad choice, the value; a secret is never a bad choice.
    harmless = len(value) < 20 and "password" not in name and "key" not in name
    return "not accepted by librdkafka: " + (text if harmless else "bad value")


def without_references(properties: Mapping[str, str]) -> dict[str, str]:
    """What librdkafka can look at now: a reference is no PEM, and a certificate needs its key."""
    unread = {name for name, value in properties.items() if name.endswith(".pem") and has_reference(value)}
    if unread & {"ssl.certificate.pem", "ssl.key.pem"}:
        unread |= {"ssl.certificate.pem", "ssl.key.pem", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"}
    return {name: value for name, value in properties.items() if name not in unread}


def refused_by_clients(config: Config) -> str | None:
    """Why librdkafka makes no consumer or producer of our own properties and the user's together, or ``None``."""
    import confluent_kafka as ck

    known = without_references(msk.as_librdkafka_has_it(dict(config.kafka_properties)))
    properties = tuple((name, "-" if has_reference(value) else value) for name, value in known.items())
    job = KafkaConfig("", config.input_topics, config.group_id, delivery=config.delivery, assignment=config.assignment)
    kafka = dataclasses.replace(job, properties=properties)
    try:
        ck.Producer({**kafka.producer_properties(), "log_level": 0})
        ck.Consumer({**kafka.consumer_properties(), "log_level": 0}).close()
    except ck.KafkaException as error:
        return str(error.args[0].str())
    return None
