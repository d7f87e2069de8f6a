"""A real KServe Python server with models of the V2 protocol, on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.mlserver import OipServer
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS = Path(__file__).with_name("kserve_v2.txt").read_text(encoding="utf-8").split()
"""Every package of the environment, exactly: ``kserve==0.21.0`` alone would let the others vary."""

_MODELS = Path(__file__).with_name("served") / "kserve_models.py"


@contextlib.contextmanager
def kserve_v2() -> Iterator[OipServer]:
    """Runs KServe with the models ``half``, ``undeclared`` and ``echo``.

    Raises:
        ServerInstallError: Its packages can't be had.
        ServerStartError: It did not start.
    """
    environment_folder = environment("kserve", REQUIREMENTS)
    http, grpc = free_ports(2)
    command = [str(environment_folder / "bin/python"), str(_MODELS), str(http), str(grpc)]
    with folder("kserve") as work, running(command, work) as log_file:
        wait_until_answered(f"http://127.0.0.1:{http}/v2/models/half/ready", log_file)
        yield OipServer(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", environment_folder)
