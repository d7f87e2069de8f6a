"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka.native.memory_job import Listener
from transforms.observe import observer, set_observer


@pytest.fixture
def heard() -> Iterator[Listener]:
    before, listener = observer(), Listener()
    set_observer(listener)
    yield listener
    set_observer(before)
