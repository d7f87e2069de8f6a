"""A real Triton Inference Server (the one in nvidia-pytriton's wheel, CPU only), on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.mlserver import OipServer, answers
from tests.servers.running import free_ports, running

REQUIREMENTS = ("nvidia-pytriton==0.7.0",)
_MODELS = Path(__file__).with_name("served") / "triton_models.py"


@contextlib.contextmanager
def triton() -> Iterator[OipServer]:
    """Runs Triton with the models ``half``, ``shout`` and ``echo``, all with a maximum batch of 16.

    Raises:
        ServerInstallError: Its packages can't be had.
        ServerStartError: It did not start.
    """
    folder = environment("pytriton", REQUIREMENTS)
    http, grpc = free_ports(2)
    # Triton's Python backend loads libpython, which is not where the loader looks unless the system's Python is used.
    paths = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")]
    with tempfile.TemporaryDirectory(prefix="triton-") as work:
        env = {"LD_LIBRARY_PATH": ":".join(filter(None, paths)), "PYTRITON_HOME": work, "PYTRITON_NO_TELEMETRY": "1"}
        ready = [f"http://127.0.0.1:{http}/v2/models/{model}/ready" for model in ("half", "shout", "echo")]
        command = [str(folder / "bin/python"), str(_MODELS), str(http), str(grpc)]
        with running(command, Path(work), lambda: all(map(answers, ready)), env):
            yield OipServer(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", folder)
