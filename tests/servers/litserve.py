"""Real LitServe apps for the tests: its OpenAI specs, with models of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import added_packages, environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS_FILE = Path(__file__).with_name("litserve.txt")
"""Every package of the environment, exactly."""

REQUIREMENTS = REQUIREMENTS_FILE.read_text().split()
SERVED = Path(__file__).with_name("served")
EMBEDDINGS, CHAT = "litserve_embeddings.py", "litserve_chat.py"


MINILM_FILE = Path(__file__).with_name("minilm.txt")
"""The weights of all-MiniLM-L6-v2, and what runs them on our own TensorFlow. Without what they require: PyTorch among it."""

MINILM = SERVED / "litserve_minilm.py"


@contextlib.contextmanager
def litserve(app: str) -> Iterator[str]:
    """Runs an app of the folder ``served``; yields its ``HOST:PORT``."""
    python = environment("litserve", REQUIREMENTS) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("litserve") as directory, running([str(python), str(SERVED / app), str(port)], directory) as log_file:
        wait_until_answered(f"http://{address}/health", log_file)
        yield address


@contextlib.contextmanager
def minilm() -> Iterator[str]:
    """Runs all-MiniLM-L6-v2 behind LitServe; yields its ``HOST:PORT``."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with (
        folder("minilm") as directory,
        running([sys.executable, str(MINILM), str(port)], directory, _with_minilm()) as log_file,
    ):
        wait_until_answered(f"http://{address}/health", log_file)
        yield address


def minilm_vectors(*texts: str) -> list[list[float]]:
    """Returns the model's own vectors, without a server."""
    command = [sys.executable, str(MINILM), *texts]
    done = subprocess.run(command, env=os.environ | _with_minilm(), capture_output=True, text=True, check=True)
    found: list[list[float]] = json.loads(done.stdout)
    return found


def _with_minilm() -> dict[str, str]:
    pins = [*MINILM_FILE.read_text().split(), *(pin for pin in REQUIREMENTS if not pin.startswith("numpy"))]
    return {"PYTHONPATH": str(added_packages("minilm", pins))}
