"""A job that runs and can't log in for want of a token waits: librdkafka asks for one again by itself."""

from __future__ import annotations

import pytest

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.consumer import GroupReader
from transforms.kafka.vendor import E, may_log_in_later
from transforms.retry import Deadline

NO_TOKENS = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "scoring",
    "sasl.oauthbearer.client.secret": "planted-3e70",
    "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:1/token",
}


def test_a_server_of_tokens_that_is_away_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reader = GroupReader(KafkaConfig("127.0.0.1:1", ("in",), "g", properties=tuple(NO_TOKENS.items())))
    try:
        deadline = Deadline(60)
        while "can't log in to 127.0.0.1:1; still trying: no token" not in caplog.text and not deadline.passed:
            assert reader.consume(10, 0.1) == []
    finally:
        reader.close()
    assert "can't log in to 127.0.0.1:1; still trying: no token" in caplog.text
    assert "planted-3e70" not in caplog.text


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("Failed to acquire SASL OAUTHBEARER token: OAuth callback raised exception", True),
        ("SASL authentication error: [3f0e]: Too many connects (after 304ms in state AUTH_REQ)", True),
        ('SASL authentication error: {"status":"invalid_token"}', False),
        ("SASL authentication error: [3f0e]: Access denied", False),
    ],
)
def test_what_passes_by_itself(text: str, later: bool) -> None:
    assert may_log_in_later(E(E._AUTHENTICATION, text)) is later
