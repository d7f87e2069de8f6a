"""A real MLServer, with models of its own, on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, running, wait_until_answered

REQUIREMENTS = Path(__file__).with_name("mlserver.txt").read_text(encoding="utf-8").split()
"""Every package of the environment, exactly: ``mlserver==1.7.1`` alone would let the others vary."""

_MODELS = Path(__file__).with_name("served") / "mlserver_models.py"


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


_HALF = {"inputs": [_tensor("x", "FP32", [-1, 4])], "outputs": [_tensor("y", "FP32", [-1, 4])]}
_ECHOED = [
    _tensor(name, name, [-1, 2])
    for name in ("FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")
]
_SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "half": ("HalfPlusTwo", {**_HALF, "parameters": {"version": "3"}}),
    "polite": ("PoliteHalfPlusTwo", _HALF),
    "undeclared": ("HalfPlusTwo", {}),
    "shout": ("Shout", {"inputs": [_tensor("words", "BYTES", [-1])], "outputs": [_tensor("loud", "BYTES", [-1])]}),
    "echo": ("Echo", {"inputs": _ECHOED, "outputs": _ECHOED}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class OipServer:
    """A running server of the Open Inference Protocol.

    Attributes:
        http: ``HOST:PORT`` of its REST API.
        grpc: ``HOST:PORT`` of its gRPC API.
        environment: The folder of its virtual environment.
    """

    http: str
    grpc: str
    environment: Path

    def uri(self, protocol: str, model: str) -> str:
        """Returns the model URI of ``MODEL`` or ``MODEL/VERSION`` by ``http`` or ``grpc``."""
        return f"oip+{protocol}://{self.http if protocol == 'http' else self.grpc}/{model}"


@contextlib.contextmanager
def mlserver() -> Iterator[OipServer]:
    """Runs MLServer with the models ``half`` (version 3), ``polite``, ``undeclared``, ``shout`` and ``echo``.

    Raises:
        ServerInstallError: Its packages can't be had.
        ServerStartError: It did not start.
    """
    environment_folder = environment("mlserver", REQUIREMENTS)
    http, grpc, metrics = free_ports(3)
    with folder("mlserver") as work:
        settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        # Its workers are processes, one a core: with none, models run in the server itself.
        (work / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
        for model, (implementation, given) in _SERVED.items():
            (work / model).mkdir()
            shutil.copy(_MODELS, work / model)
            described = {"name": model, "implementation": f"{_MODELS.stem}.{implementation}", **given}
            (work / model / "model-settings.json").write_text(json.dumps(described))
        with running([str(environment_folder / "bin/mlserver"), "start", "."], work) as log_file:
            wait_until_answered(f"http://127.0.0.1:{http}/v2/health/ready", log_file)
            yield OipServer(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", environment_folder)
