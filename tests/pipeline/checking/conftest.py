"""A broker, a model server, and the check run against both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests.pipeline.checking.checking import Checking
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """A broker with the output topic."""
    with EmbeddedBroker({"out": 1}) as broker:
        yield broker


@pytest.fixture(scope="module")
def stub() -> Iterator[TfServingGrpcStub]:
    """A model of one input, ``x``."""
    with TfServingGrpcStub() as stub:
        yield stub


@pytest.fixture
def checking(broker: EmbeddedBroker, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Checking:
    """The check of a topic of the test's own."""
    topic = request.node.name.replace("[", ".").replace("]", "")[:60]
    broker.create_topic(topic, 2)
    return Checking(broker, topic, capsys)
