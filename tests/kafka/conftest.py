"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka.native.memory_job import Recorder
from transforms.observe import observer, set_observer


@pytest.fixture
def heard() -> Iterator[Recorder]:
    before, recorder = observer(), Recorder()
    set_observer(recorder)
    yield recorder
    set_observer(before)
