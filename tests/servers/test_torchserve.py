"""The client against a real TorchServe."""

from __future__ import annotations

import pytest

from tests.servers.multi_model_server import MODEL, Address
from tests.servers.predictions import PredictionsServer
from tests.servers.torchserve import torchserve
from transforms.errors import NotServedError


class TestTorchServe(PredictionsServer):
    start = staticmethod(torchserve)
    batch_size = 8

    def test_a_version_that_is_not_there_is_told_without_the_management_api(self, server: Address) -> None:
        """Unlike multi-model-server, which answers whatever version is asked."""
        with pytest.raises(NotServedError, match=r"Model version: 7\.0 does not exist"):
            self.metadata(f"mms+http://{server.inference}/{MODEL}/7.0")
