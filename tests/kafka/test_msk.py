"""``sasl.mechanism=AWS_MSK_IAM`` in librdkafka's words; the region, and what is said of rights."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AclOperation

from transforms.errors import ConfigError
from transforms.kafka.config import KafkaConfig, is_common
from transforms.kafka.grants import grant, on_transactional_id
from transforms.kafka.msk import as_librdkafka_has_it, problems, region_of

MSK = "b-1.demo.ab12cd.c2.kafka.eu-central-1.amazonaws.com:9098"
IAM = {"sasl.mechanism": "AWS_MSK_IAM"}


@pytest.mark.parametrize(
    ("given", "servers", "environ", "region"),
    [
        ({}, MSK, {"AWS_REGION": "us-east-1"}, "eu-central-1"),
        ({}, f"{MSK},{MSK}", {}, "eu-central-1"),
        ({"aws.region": "eu-west-1"}, MSK, {}, "eu-west-1"),
        ({}, "boot-x.c1.kafka-serverless.us-gov-west-1.amazonaws.com:9098", {}, "us-gov-west-1"),
        ({}, "b-1.x.kafka.cn-north-1.amazonaws.com.cn:9098", {}, "cn-north-1"),
        ({}, "b-1.x.kafka.eu-west-1.amazonaws.com.example:9098", {}, None),
        ({}, "kafka.internal:9098", {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({}, "kafka.internal:9098", {}, None),
    ],
)
def test_the_region(given: dict[str, str], servers: str, environ: dict[str, str], region: str | None) -> None:
    assert region_of(given, servers, environ) == region


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (IAM, []),
        ({"sasl.mechanisms": "aws_msk_iam", "security.protocol": "sasl_ssl"}, []),
        ({**IAM, "security.protocol": "SASL_PLAINTEXT"}, ["security.protocol"]),
        ({**IAM, "sasl.username": "x", "sasl.oauthbearer.method": "oidc"}, ["sasl.username", "sasl.oauthbearer.method"]),
        ({**IAM, "aws.region": "eu-west-1.evil.example/"}, ["aws.region"]),
        ({"aws.region": "eu-west-1", "sasl.mechanism": "PLAIN"}, ["aws.region"]),
    ],
)
def test_what_does_not_go_with_it(given: dict[str, str], names: list[str]) -> None:
    assert [name for name, _ in problems(given, MSK, {})] == names


def test_without_a_region_the_property_is_named() -> None:
    assert list(problems(IAM, "kafka:9098", {})) == [
        ("aws.region", "give the region of the cluster for AWS_MSK_IAM, such as aws.region=eu-west-1, or set AWS_REGION")
    ]
    with pytest.raises(ConfigError, match=r"sasl\.username"):
        KafkaConfig(MSK, ("in",), "g", properties=tuple({**IAM, "sasl.username": "x"}.items())).client_properties()


def test_every_client_gets_librdkafkas_words_and_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-9b1d")
    config = KafkaConfig(MSK, ("in",), "g", properties=tuple({**IAM, "aws.region": "eu-west-1"}.items()))
    for found in (config.client_properties(), config.consumer_properties(), config.producer_properties()):
        given: dict[str, object] = dict(found)
        assert given["sasl.mechanism"] == "OAUTHBEARER"
        assert given["security.protocol"] == "SASL_SSL"
        assert callable(given["oauth_cb"])
        assert "aws.region" not in given
    assert is_common("oauth_cb"), "the admin client gets it, too"
    assert "planted-9b1d" not in str(config)


def test_other_logins_stay_as_they_are() -> None:
    given = {"sasl.mechanism": "PLAIN", "sasl.username": "x"}
    assert as_librdkafka_has_it(given) == given


def test_rights_are_those_of_an_iam_policy() -> None:
    config = KafkaConfig(MSK, ("in",), "g", properties=tuple(IAM.items()))
    assert grant(config, AclOperation.READ, "--topic in") == (
        "its IAM policy must allow kafka-cluster:DescribeTopic and kafka-cluster:ReadData on it"
    )
    assert "kafka-cluster:AlterTransactionalId" in on_transactional_id(config)
