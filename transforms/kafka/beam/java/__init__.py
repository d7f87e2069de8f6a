"""Our Java code on the classpath of Beam's Java transforms: ``scoring.jar``.

One class resolves secrets, the other has Beam's expansion service listen on 127.0.0.1. Their source is in ``src/``.
``python -m transforms.kafka.beam.java.build`` compiles it, and a test compares the result with the jar.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transforms.secret_manager import REFERENCE, has_reference

JAR = Path(__file__).with_name("scoring.jar")
"""Must be on the classpath of the expansion service, which stages it for the workers."""

PROVIDER = "scoring.SecretManagerConfigProvider"
EXPANSION_SERVICE = "scoring.LocalExpansionService"
"""Has the main method; takes the arguments of Beam's own."""


def provider_properties(values: Iterable[str]) -> dict[str, str]:
    """Returns the Kafka properties that make a Java client resolve ``${secret:…}``; none if no value has a reference."""
    if not any(has_reference(value) for value in values):
        return {}
    return {"config.providers": "secret", "config.providers.secret.class": PROVIDER}


def in_jaas(text: str) -> str:
    """Changes the references in ``text`` so that their values are escaped for a quoted string of a JAAS configuration."""
    return REFERENCE.sub(r"${secret:jaas:\1}", text)
