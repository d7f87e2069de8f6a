"""What several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka_broker import KafkaBroker
from transforms.kafka.stop import reset_drain

# How long an example takes says something of the machine, not of the code: what must be fast has a test of its own.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture
def not_draining() -> Iterator[None]:
    """Whatever a test asks for, the next one is not draining."""
    reset_drain()
    yield
    reset_drain()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a real Apache Kafka, shared by all tests: use topics and groups of your own names.

    With ``KAFKA_BOOTSTRAP`` set, a broker that runs already is used (``python -m tests.kafka_broker --port …``), which
    spares its start while one test is being worked on.
    """
    if address := os.environ.get("KAFKA_BOOTSTRAP"):
        yield address
        return
    with KafkaBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker that a test may stop, kill and start again, and that has a SASL listener; leave it running."""
    with KafkaBroker() as broker:
        yield broker
