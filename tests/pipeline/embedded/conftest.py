"""One model server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from pipeline.embedded.digits import MODEL_DIR
from tests.pipeline.embedded.servers import KINDS_DIR, TESTDATA, Served, model_server


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """Serves digits, kinds and, where they are, TensorFlow Serving's test models in all their versions."""
    models = {"digits": MODEL_DIR, "kinds": KINDS_DIR}
    labels = {}
    if TESTDATA.is_dir():
        names = {path.name.removeprefix("saved_model_"): path for path in TESTDATA.iterdir() if path.is_dir()}
        models |= names
        models["default"] = TESTDATA / "saved_model_half_plus_two_2_versions"
        labels = {("half_plus_two_2_versions", "stable"): 123, ("half_plus_two_2_versions", "canary"): 124}
    with model_server(models, labels=labels) as server:
        yield server


@pytest.fixture(scope="session")
def channel(served: Served) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as opened:
        yield opened
