"""Real LitServe apps for the tests: its OpenAI specs, with models of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS_FILE = Path(__file__).with_name("litserve.txt")
"""Every package of the environment, exactly."""

REQUIREMENTS = REQUIREMENTS_FILE.read_text().split()
SERVED = Path(__file__).with_name("served")
EMBEDDINGS, CHAT = "litserve_embeddings.py", "litserve_chat.py"


@contextlib.contextmanager
def litserve(app: str) -> Iterator[str]:
    """Runs an app of the folder ``served``; yields its ``HOST:PORT``."""
    python = environment("litserve", REQUIREMENTS) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("litserve") as directory, running([str(python), str(SERVED / app), str(port)], directory) as log_file:
        wait_until_answered(f"http://{address}/health", log_file)
        yield address
