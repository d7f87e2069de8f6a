"""A real Kafka with a listener for each way to get in, and what a client needs for each."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.kafka_broker import KafkaBroker
from transforms.testing.contract.certificates import write_certificates

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Whoever comes without a login, these tests among them; who has one by TLS; and the one user of the listener LOGIN.
    "super.users": "User:ANONYMOUS;User:client;User:scoring",
}

USER, PASSWORD = "scoring", "right-4a91"

LISTENERS = {"TLS": "SSL", "EXPIRED": "SSL", "ELSEWHERE": "SSL", "MUTUAL": "SSL", "LOGIN": "SASL_SSL"}
"""The listeners besides PLAINTEXT and SASL_PLAINTEXT, with their security protocols."""

IDENTITIES = {"TLS": "server", "EXPIRED": "expired", "ELSEWHERE": "elsewhere", "MUTUAL": "server", "LOGIN": "server"}
"""Whose certificate each of them has; see ``write_certificates``."""

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_MODULES = "org.apache.kafka.common.security"


@dataclasses.dataclass(frozen=True)
class Secured:
    """The broker, and the folder of the certificates."""

    broker: KafkaBroker
    folder: Path

    def address(self, listener: str) -> str:
        """Returns the address of a listener: one of ``LISTENERS``, or PLAIN or SASL for those without TLS."""
        without_tls = {"PLAIN": self.broker.bootstrap, "SASL": self.broker.sasl_bootstrap}
        return without_tls.get(listener) or self.broker.more[listener]


@contextlib.contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Starts the broker.

    Args:
        folder: For the certificates: see ``write_certificates``.
    """
    write_certificates(folder)
    properties = {**AUTHORIZER, "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/"}
    for name, identity in IDENTITIES.items():
        store = folder / f"{identity}-store.pem"
        store.write_text("".join((folder / f"{identity}{end}").read_text() for end in (".key", ".pem")))
        of_listener = f"listener.name.{name.lower()}."
        properties |= {f"{of_listener}ssl.keystore.type": "PEM", f"{of_listener}ssl.keystore.location": str(store)}
    properties |= {
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.login.sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "listener.name.login.plain.sasl.jaas.config": (
            f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.login.scram-sha-256.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "listener.name.login.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        # Without a callback handler Kafka takes tokens that nobody has signed: enough here, and for nothing else.
        "listener.name.login.oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
    }
    with KafkaBroker(properties=properties, more_listeners=LISTENERS) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        credentials = [
            UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        for credential in credentials:  # one alteration of a user at a time
            admin.alter_user_scram_credentials([credential])[USER].result(30)
        yield Secured(broker, folder)
