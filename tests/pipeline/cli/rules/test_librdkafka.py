"""``--kafka_config``: what a guarantee or a flag rests on is refused, with what that is; and what librdkafka refuses."""

from __future__ import annotations

import pytest

from tests.pipeline.cli.parsing import OWN, mistakes, parse
from transforms.kafka.protected import PROTECTED

SECRET = "hunter2-0123456789"


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_what_is_protected_is_refused_with_the_reason_and_the_cure(name: str) -> None:
    [text] = mistakes(*OWN, f"--kafka_config={name}=anything")
    assert text.startswith(f"--kafka_config {name}: can't be set: {PROTECTED[name].why}; leave it out")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("isolation.level=read_uncommitted", "transactions that were aborted"),
        ("acks=1", "nothing is lost with a broker"),
        ("partition.assignment.strategy=range", "give cooperative-sticky"),
        ("test.mock.num.brokers=1", "a broker in memory in the place of --bootstrap_servers"),
        ("allow.auto.create.topics=true", "that was deleted"),
        # librdkafka's own words, of our properties and the user's together.
        ("max.in.flight=6", "`max.in.flight` must be set <= 5 when `enable.idempotence` is true"),
        ("retries=0", "`retries` must be set >= 1"),
        ("queuing.strategy=lifo", "`queuing.strategy` must be set to `fifo`"),
        ("message.timeout.ms=3600000", "`message.timeout.ms` must be set <= `transaction.timeout.ms`"),
        ("error_cb=x", "no such librdkafka property"),
        ("default.topic.config=x", "no such librdkafka property"),
    ],
)
def test_what_the_guarantees_rest_on_can_not_be_changed(given: str, said: str) -> None:
    [text] = mistakes(*OWN, f"--kafka_config={given}")
    assert text.startswith("--kafka_config")
    assert given.partition("=")[0] in text
    assert said in text


@pytest.mark.parametrize(
    "given",
    [
        "isolation.level=read_committed", "acks=all", "request.required.acks=-1", "allow.auto.create.topics=false",
        "partition.assignment.strategy=cooperative-sticky", "check.crcs=true", "max.in.flight=1", "retries=7",
        "transaction.timeout.ms=4000", "queue.buffering.max.messages=1000", "group.protocol=classic",
        "group.protocol=consumer", "socket.keepalive.enable=true",
    ],
)  # fmt: skip
def test_what_changes_no_guarantee_is_taken(given: str) -> None:
    parse(*OWN, f"--kafka_config={given}")


@pytest.mark.parametrize("name", ["session.timeout.ms", "heartbeat.interval.ms"])
def test_where_the_broker_assigns_its_times_are_not_the_clients(name: str) -> None:
    [text] = mistakes(*OWN, "--kafka_config=group.protocol=consumer", f"--kafka_config={name}=5000")
    assert f"`{name}` is not supported for `group.protocol=consumer`" in text


@pytest.mark.parametrize("flags", [("--assignment=static",), ("--runner=PrismRunner", "--kafka_io=beam")])
def test_where_no_group_assigns_there_is_no_protocol_of_it(flags: tuple[str, ...]) -> None:
    found = mistakes(*OWN, "--kafka_config=group.protocol=consumer", *flags)
    assert any("--kafka_config group.protocol: consumer is for --assignment=group" in text for text in found)


def test_references_are_not_resolved_for_it() -> None:
    """Nor is a secret shown."""
    secret = f"${{secret:projects/p/secrets/{SECRET}/versions/1}}"
    sasl = ("security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", "sasl.username=u", f"sasl.password={secret}")
    flags = [f"--kafka_config={pair}" for pair in sasl]
    parse(*OWN, *flags)
    assert SECRET not in "".join(mistakes(*OWN, *flags, "--kafka_config=acks=1"))


def test_a_word_of_librdkafkas_is_no_secret() -> None:
    """Whether the group's protocol fits the other flags must be known before anything is asked, a secret manager too."""
    reference = "${secret:projects/p/secrets/protocol/versions/1}"
    [found] = mistakes(*OWN, f"--kafka_config=group.protocol={reference}")
    assert found.startswith("--kafka_config group.protocol: is a word or a number of librdkafka's")
    assert found.endswith("write it out")


def test_the_region_of_a_login_by_iam_goes_with_the_job() -> None:
    config = parse(
        *OWN,
        "--bootstrap_servers=b-1.demo.ab12cd.c2.kafka.eu-west-1.amazonaws.com:9098",
        "--kafka_config=sasl.mechanism=AWS_MSK_IAM",
    )
    assert config.kafka_properties == (("aws.region", "eu-west-1"), ("sasl.mechanism", "AWS_MSK_IAM"))


def test_a_region_without_that_login_is_refused() -> None:
    [text] = mistakes(*OWN, "--kafka_config=aws.region=eu-west-1")
    assert text == "--kafka_config aws.region: is for sasl.mechanism=AWS_MSK_IAM alone: leave it out"
