"""What the tests against several real servers share."""

from __future__ import annotations

import pytest

from tests.servers.oip_requests import PROTOCOLS


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Both APIs of the Open Inference Protocol, one after the other."""
    return str(request.param)
