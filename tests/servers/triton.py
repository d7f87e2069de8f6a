"""A real Triton Inference Server (the one in nvidia-pytriton's wheel, CPU only), on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment, libraries_of
from tests.servers.mlserver import OipServer
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS = Path(__file__).with_name("triton.txt").read_text(encoding="utf-8").split()
"""Every package of the environment, exactly: ``nvidia-pytriton==0.7.0`` alone would let the others vary."""

_MODELS = Path(__file__).with_name("served") / "triton_models.py"


@contextlib.contextmanager
def triton() -> Iterator[OipServer]:
    """Runs Triton with the models ``half``, ``shout``, ``echo`` and ``crowded``, all with a maximum batch of 16.

    Raises:
        ServerInstallError: Its packages can't be had.
        ServerStartError: It did not start.
    """
    environment_folder = environment("pytriton", REQUIREMENTS)
    http, grpc = free_ports(2)
    # Triton's Python backend loads libpython, which is not where the loader looks unless the system's Python is used.
    paths = [libraries_of(environment_folder / "bin/python"), os.environ.get("LD_LIBRARY_PATH")]
    with folder("triton") as work:
        env = {"LD_LIBRARY_PATH": ":".join(filter(None, paths)), "PYTRITON_HOME": str(work), "PYTRITON_NO_TELEMETRY": "1"}
        command = [str(environment_folder / "bin/python"), str(_MODELS), str(http), str(grpc)]
        with running(command, work, env) as log_file:
            for model in ("half", "shout", "echo", "crowded"):
                wait_until_answered(f"http://127.0.0.1:{http}/v2/models/{model}/ready", log_file)
            yield OipServer(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", environment_folder)
