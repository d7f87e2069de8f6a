"""The tokens of ``AWS_MSK_IAM``: as AWS's own package makes them, shared, and renewed before their end."""

from __future__ import annotations

import base64
import datetime
import json
import logging
import os
import subprocess
import sys
import urllib.parse
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from tests.kafka_broker import ROOT
from tests.servers.environment import added_packages
from transforms.errors import SecretError
from transforms.kafka.msk_token import LIFETIME_S, RENEW_S, MskTokens

KEY = Credentials("AKIAEXAMPLE", "planted-9b1d", "session+token/=")
PINS = ("aws-msk-iam-sasl-signer-python==1.0.2", "boto3==1.44.8", "s3transfer==0.19.3")

BOTH = """
import json, urllib.parse, base64
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from transforms.kafka.msk_token import MskTokens

def date(token):
    url = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-Date"]

while True:  # until both are of the same second
    theirs, ends_ms = MSKAuthTokenProvider.generate_auth_token("eu-west-1")
    ours, ends_s = MskTokens("eu-west-1").current()
    if date(theirs) == date(ours):
        print(json.dumps([[theirs, ends_ms / 1000], [ours, ends_s]]))
        break
"""


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Chain:
    """Credentials that may be gone for a while."""

    found: Any = KEY
    asked = 0

    def __call__(self, region: str) -> Any:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def url_of(token: str) -> urllib.parse.SplitResult:
    assert "=" not in token
    return urllib.parse.urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())


def test_it_is_the_token_that_awss_package_makes() -> None:
    """All but the name of the program, which stands beside what is signed."""
    path = os.pathsep.join([str(added_packages("msk-signer", PINS)), str(ROOT)])
    keys = {"AWS_ACCESS_KEY_ID": KEY.access_key, "AWS_SECRET_ACCESS_KEY": KEY.secret_key, "AWS_SESSION_TOKEN": KEY.token}
    done = subprocess.run(
        [sys.executable, "-c", BOTH],
        env=os.environ | keys | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    (theirs, ends_theirs), (ours, ends_ours) = json.loads(done.stdout)
    assert ends_theirs == pytest.approx(ends_ours, abs=1)
    assert url_of(ours)[:3] == url_of(theirs)[:3]
    signed, agent = url_of(ours).query.rsplit("&User-Agent=", 1)
    assert signed == url_of(theirs).query.rsplit("&User-Agent=", 1)[0]
    assert agent == "kafka-model-scoring"


def test_the_clients_of_a_process_share_a_token_until_five_minutes_before_its_end() -> None:
    clock, chain = Clock(), Chain()
    tokens = MskTokens("eu-west-1", chain, clock)
    first = tokens.current()
    assert first[1] == clock.now + LIFETIME_S
    clock.now += LIFETIME_S - RENEW_S
    assert tokens.current() == first
    assert chain.asked == 1
    clock.now += 1
    assert tokens.current()[1] == clock.now + LIFETIME_S
    assert chain.asked == 2


def test_a_token_ends_with_its_credentials() -> None:
    """Those of a role or of a process end, and MSK refuses a token of theirs from then on."""
    clock, chain = Clock(), Chain()

    def now() -> datetime.datetime:
        return datetime.datetime.fromtimestamp(clock.now, datetime.UTC)

    def renewed() -> dict[str, str]:
        end = now() + datetime.timedelta(seconds=120)
        return {"access_key": "AKIA", "secret_key": "planted-3c", "token": "t", "expiry_time": end.isoformat()}

    chain.found = RefreshableCredentials("AKIA", "planted-3c", "t", now(), renewed, "a process", now)
    tokens = MskTokens("eu-west-1", chain, clock)
    first = tokens.current()
    assert first[1] == clock.now + 120
    clock.now += 79
    assert tokens.current() == first, "it is not signed anew with each call"
    chain.found = KEY
    clock.now += 2
    assert tokens.current()[1] == clock.now + LIFETIME_S


def test_without_credentials_for_a_while_the_token_before_serves_until_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clock, chain = Clock(), Chain()
    tokens = MskTokens("eu-west-1", chain, clock)
    first = tokens.current()
    clock.now += LIFETIME_S - 60
    chain.found = ConnectionError("no role here")
    assert tokens.for_librdkafka({}) == first
    assert "no role here" in caplog.text
    assert "for 60 s yet" in caplog.text
    clock.now += 60
    with pytest.raises(SecretError, match="no AWS credentials: no role here"):
        tokens.for_librdkafka({})
    tokens.ensure()  # properties are looked at all the time: nothing of that may end a job that has begun
    chain.found = KEY
    assert tokens.for_librdkafka({})[1] == clock.now + LIFETIME_S


@pytest.mark.parametrize("found", [None, Credentials("", ""), ValueError("bad file")])
def test_nobody_is_told_so_and_no_key_is_shown(found: Any, caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.found = found
    with pytest.raises(SecretError, match=r"AWS_MSK_IAM: no AWS credentials.*AWS_ACCESS_KEY_ID"):
        MskTokens("eu-west-1", chain, Clock()).ensure()
    with caplog.at_level(logging.DEBUG):
        MskTokens("eu-west-1", Chain(), Clock()).current()
    assert "planted-9b1d" not in caplog.text
