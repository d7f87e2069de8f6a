"""A BentoML service and a Ray Serve deployment, each with JSON of its own.

Their environments are large (0.1 and 0.3 GB), and Ray listens on more than the loopback address. So what uses them runs only
where ``REAL_BENTOML=1`` or ``REAL_RAY=1`` asks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

BENTOML, RAY_SERVE = (Path(__file__).with_name(f"{name}.txt").read_text().split() for name in ("bentoml", "ray_serve"))
"""Every package of each environment, exactly."""

BENTOML_ASKED_FOR, RAY_ASKED_FOR = bool(os.environ.get("REAL_BENTOML")), bool(os.environ.get("REAL_RAY"))
SERVED = Path(__file__).with_name("served")


@contextlib.contextmanager
def bentoml() -> Iterator[str]:
    """Runs ``bentoml serve``; yields its ``HOST:PORT``."""
    app = ["-m", "bentoml", "serve", "bentoml_rows:Score", "--working-dir", str(SERVED), "--host", "127.0.0.1", "--port"]
    with _served("bentoml", BENTOML, app, "BENTOML_HOME", {"BENTOML_DO_NOT_TRACK": "true"}, "/readyz") as address:
        yield address


@contextlib.contextmanager
def ray_serve() -> Iterator[str]:
    """Runs a Ray of its own with the deployment; yields its ``HOST:PORT``."""
    env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    with _served("ray_serve", RAY_SERVE, [str(SERVED / "ray_score.py")], "RAY_TMPDIR", env, "/-/routes") as address:
        yield address


@contextlib.contextmanager
def _served(name: str, requirements: list[str], app: list[str], home: str, env: dict[str, str], ready: str) -> Iterator[str]:
    """Runs Python with ``app`` and a port behind it; ``home`` is the variable for a folder of its own."""
    python = environment(name, requirements) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with (
        folder(name) as directory,
        running([str(python), *app, str(port)], directory, {**env, home: str(directory)}) as log_file,
    ):
        wait_until_answered(f"http://{address}{ready}", log_file)
        yield address
