"""What Beam's Java transforms need of ours on their classpath: one class, in ``secret-manager.jar``.

Its source is in ``src/``; ``python -m transforms.kafka.beam.java.build KAFKA_CLIENTS_JAR`` compiles it, and a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transforms.secret_manager import REFERENCE, has_reference

JAR = Path(__file__).with_name("secret-manager.jar")
"""To be on the classpath of the expansion service, which stages it for the workers."""

PROVIDER = "scoring.SecretManagerConfigProvider"


def provider_properties(values: Iterable[str]) -> dict[str, str]:
    """Returns the Kafka properties by which a Java client resolves ``${secret:…}``, if one of ``values`` has that."""
    if not any(has_reference(value) for value in values):
        return {}
    return {"config.providers": "secret", "config.providers.secret.class": PROVIDER}


def in_jaas(text: str) -> str:
    """Returns ``text`` with its references asking for a value fit for a quoted string of a JAAS configuration."""
    return REFERENCE.sub(r"${secret:jaas:\1}", text)
