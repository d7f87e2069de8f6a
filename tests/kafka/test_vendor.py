"""Kafka's errors in a person's words, and which of them pass by themselves."""

from __future__ import annotations

import confluent_kafka as ck
import pytest

from transforms.kafka.vendor import describe, is_transient

E = ck.KafkaError


@pytest.mark.parametrize(
    "code", [E._ALL_BROKERS_DOWN, E._TIMED_OUT, E.NOT_COORDINATOR, E.REBALANCE_IN_PROGRESS, E.NOT_ENOUGH_REPLICAS]
)
def test_what_passes_by_itself(code: int) -> None:
    assert is_transient(E(code))


@pytest.mark.parametrize(
    "code", [E.TOPIC_AUTHORIZATION_FAILED, E._AUTHENTICATION, E.MSG_SIZE_TOO_LARGE, E.UNKNOWN_TOPIC_OR_PART, E._FENCED]
)
def test_what_does_not(code: int) -> None:
    assert not is_transient(E(code))


def test_a_fatal_error_never_passes_whatever_its_code() -> None:
    assert not is_transient(E(E._TIMED_OUT, "no", fatal=True))


def test_an_unknown_error_that_kafka_calls_retriable_is_believed() -> None:
    assert is_transient(E(E._FAIL, "no", retriable=True))


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (E.SASL_AUTHENTICATION_FAILED, r"check sasl\.username, sasl\.password"),
        (E._SSL, r"ssl\.ca\.location"),
        (E._ALL_BROKERS_DOWN, "--bootstrap_servers"),
        (E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "--delivery=at_least_once"),
        (E.MSG_SIZE_TOO_LARGE, r"raise max\.message\.bytes"),
        (E.INCONSISTENT_GROUP_PROTOCOL, "--group_id"),
    ],
)
def test_an_error_comes_with_its_cure_and_kafkas_own_name(code: int, cure: str) -> None:
    text = describe(E(code))
    import re

    assert re.search(cure, text)
    assert E(code).name() in text


def test_a_login_that_fails_for_want_of_a_token() -> None:
    said = describe(E(E._AUTHENTICATION, "Failed to acquire SASL OAUTHBEARER token: HTTP 401"))
    assert "sasl.oauthbearer.token.endpoint.url" in said
    assert "sasl.username" not in said


def test_an_error_without_a_known_cure_is_in_kafkas_words() -> None:
    assert describe(E(E._FAIL, "something odd")) == "_FAIL: something odd"
