"""TensorFlow Serving's own client understands the embedded server: no message of this project on the client's side."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.embedded.servers import TESTDATA, Served


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_serving") is None, reason="tensorflow-serving-api is for development only"
)
def test_official_client(served: Served) -> None:
    """Predict, Classify, Regress, GetModelMetadata and GetModelStatus, by the official stubs and messages."""
    command = [sys.executable, "-m", "tests.pipeline.embedded.official_client", str(served.grpc_port)]
    command += ["examples"] * TESTDATA.is_dir()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
