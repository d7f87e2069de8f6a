"""A real KServe Python server (V1 protocol over REST) for the tests, with a model of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS_FILE = Path(__file__).with_name("kserve_v1.txt")
"""Every package of the environment, exactly: ``kserve`` alone would let sixty others vary."""

MODEL_FILE = Path(__file__).with_name("kserve_model.py")
MODEL = "half_plus_two"


@contextlib.contextmanager
def kserve_v1() -> Iterator[str]:
    """Runs a server with the model ``half_plus_two``; yields its ``HOST:PORT``."""
    python = environment("kserve", REQUIREMENTS_FILE.read_text().split()) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("kserve") as directory, running([str(python), str(MODEL_FILE), str(port)], directory) as log_file:
        wait_until_answered(f"http://{address}/v1/models/{MODEL}", log_file)
        yield address
