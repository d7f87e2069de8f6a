"""``sasl.mechanism=AWS_MSK_IAM``: the login of Amazon MSK by an IAM identity, in librdkafka's words.

librdkafka has no such mechanism. MSK takes the same token by ``OAUTHBEARER``, over TLS, so that is what clients get, with a
function that makes the token.

Source: https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.errors import ConfigError
from transforms.kafka.msk_token import msk_tokens

AWS_MSK_IAM = "AWS_MSK_IAM"
REGION = "aws.region"
"""A property of ours, not of librdkafka's: the region of the cluster."""

MECHANISMS = ("sasl.mechanism", "sasl.mechanisms")
OAUTH_CALLBACK = "oauth_cb"

REFUSED = (
    "MSK refused this AWS identity: its IAM policy must allow kafka-cluster:Connect on the cluster, and aws.region must be "
    "the cluster's (aws sts get-caller-identity shows who it is)"
)

_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?(?=[:,]|$)")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SECURITY = "security.protocol"


def by_iam(properties: Mapping[str, object]) -> bool:
    """Whether these properties ask for the login by IAM."""
    return any(str(properties.get(name, "")).strip().upper() == AWS_MSK_IAM for name in MECHANISMS)


def region_of(
    properties: Mapping[str, object], bootstrap_servers: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Returns the region: the property's, or of the brokers' names, or of the environment; ``None`` if nothing says it."""
    if given := str(properties.get(REGION, "")).strip():
        return given
    if found := _HOST.search(bootstrap_servers):
        return found[1]
    return next((environ[name] for name in _VARIABLES if environ.get(name)), None)


def problems(
    properties: Mapping[str, str], bootstrap_servers: str, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with the properties of this login: the property's name, and the problem with its cure."""
    if not by_iam(properties):
        if REGION in properties:
            yield REGION, f"is for sasl.mechanism={AWS_MSK_IAM} alone: leave it out"
        return
    if properties.get(_SECURITY, "SASL_SSL").strip().upper() != "SASL_SSL":
        yield _SECURITY, f"MSK takes {AWS_MSK_IAM} over TLS alone: leave it out, or give SASL_SSL"
    for name in properties:
        if name.startswith("sasl.oauthbearer.") or name in ("sasl.username", "sasl.password"):
            yield name, f"is for other mechanisms than {AWS_MSK_IAM}, which takes AWS's credentials: leave it out"
    region = region_of(properties, bootstrap_servers, environ)
    if region is None:
        yield REGION, f"give the region of the cluster for {AWS_MSK_IAM}, such as {REGION}=eu-west-1, or set AWS_REGION"
    elif not _REGION.fullmatch(region):
        yield REGION, "is no region of AWS, such as eu-west-1"


def as_librdkafka_has_it(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the properties without what is ours: what librdkafka can judge before there is a token."""
    if not by_iam(properties):
        return dict(properties)
    others = {name: value for name, value in properties.items() if name not in (*MECHANISMS, REGION)}
    return {_SECURITY: "SASL_SSL", **others, "sasl.mechanism": "OAUTHBEARER"}


def logged_in(properties: Mapping[str, Any], bootstrap_servers: str) -> dict[str, Any]:
    """Returns the properties that a client is opened with. Where they ask for a login by IAM, a process makes
    its first token here.

    Raises:
        ConfigError: The region is not known, or botocore is not installed.
        SecretError: There are no AWS credentials.
    """
    found = as_librdkafka_has_it(properties)
    if by_iam(properties):
        if mistakes := [f"--kafka_config {name}: {it}" for name, it in problems(properties, bootstrap_servers)]:
            raise ConfigError(mistakes)
        tokens = msk_tokens(str(region_of(properties, bootstrap_servers)))
        tokens.ensure()  # without one a client would wait for 10 s, and not say what is wrong
        found[OAUTH_CALLBACK] = tokens.for_librdkafka
    return found
