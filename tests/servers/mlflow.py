"""A real MLflow scoring server for the tests, with a scikit-learn model of its own.

Its environment is large (0.6 GB), so what uses it runs only where ``REAL_MLFLOW=1`` asks for it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS = Path(__file__).with_name("mlflow.txt").read_text().split()
"""Every package of the environment, exactly."""

MODEL_FILE = Path(__file__).with_name("served") / "mlflow_model.py"
ASKED_FOR = bool(os.environ.get("REAL_MLFLOW"))


@contextlib.contextmanager
def mlflow() -> Iterator[tuple[str, Path]]:
    """Runs ``mlflow models serve``; yields its ``HOST:PORT`` and the folder of the model."""
    bin_folder = environment("mlflow", REQUIREMENTS) / "bin"
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with folder("mlflow") as directory:
        model = directory / "model"
        subprocess.run([bin_folder / "python", MODEL_FILE, model], cwd=directory, env=env, check=True, capture_output=True)
        command = [
            str(bin_folder / "python"),
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            str(model),
            "-p",
            str(port),
            "-h",
            "127.0.0.1",
        ]
        with running([*command, "--env-manager", "local"], directory, env) as log_file:
            wait_until_answered(f"http://{address}/ping", log_file)
            yield address, model
