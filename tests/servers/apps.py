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
    python = environment("bentoml", BENTOML) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("bentoml") as directory:
        app = ["bentoml_rows:Score", "--working-dir", str(SERVED), "--host", "127.0.0.1", "--port", str(port)]
        env = {"BENTOML_HOME": str(directory), "BENTOML_DO_NOT_TRACK": "true"}
        with running([str(python), "-m", "bentoml", "serve", *app], directory, env) as log_file:
            wait_until_answered(f"http://{address}/readyz", log_file)
            yield address


@contextlib.contextmanager
def ray_serve() -> Iterator[str]:
    """Runs a Ray of its own with the deployment; yields its ``HOST:PORT``."""
    python = environment("ray_serve", RAY_SERVE) / "bin" / "python"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("ray") as directory:
        env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(directory)}
        with running([str(python), str(SERVED / "ray_score.py"), str(port)], directory, env) as log_file:
            wait_until_answered(f"http://{address}/-/healthz", log_file)
            wait_until_answered(f"http://{address}/-/routes", log_file)
            yield address
