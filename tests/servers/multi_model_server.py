"""A real multi-model-server (AWS, MXNet) for the tests.

Its launcher (``multi-model-server``) is left out: it starts the Java front end, writes the process id into the machine's one
``/tmp/.model_server.pid``, and leaves the JVM running when it is killed. Here the JVM is our own child.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environment import environment
from tests.servers.server_process import folder, free_ports, post, running, wait_until_answered

REQUIREMENTS = ("multi-model-server==1.1.11", "model-archiver==1.0.3", "future==1.0.0", "pillow==13.0.0", "psutil==7.2.2")
MODEL = "half_plus_two"
MODEL_FOLDER = Path(__file__).with_name(MODEL)
MAX_REQUEST_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        inference: ``HOST:PORT`` of the inference API.
        management: ``HOST:PORT`` of the management API.
    """

    inference: str
    management: str


@contextlib.contextmanager
def multi_model_server(batch_size: int = 1, workers: int = 1) -> Iterator[Address]:
    """Runs a server with the model ``half_plus_two``.

    Args:
        batch_size: Requests that the server puts together for one call of the handler, at most.
        workers: Processes that serve the model.
    """
    python = environment("multi-model-server", REQUIREMENTS) / "bin" / "python"
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    with folder("mms") as directory:
        store = directory / "models"
        shutil.copytree(MODEL_FOLDER, store / MODEL)
        inference, management = (f"127.0.0.1:{port}" for port in free_ports(2))
        config = directory / "config.properties"
        config.write_text(
            f"inference_address=http://{inference}\nmanagement_address=http://{management}\n"
            f"model_store={store}\nmax_request_size={MAX_REQUEST_BYTES}\nnumber_of_netty_threads=4\n"
            "job_queue_size=1000\ninstall_py_dep_per_model=false\n"
        )
        command = ["java", "-Xmx256m", f"-Djava.io.tmpdir={directory}", f"-Dmodel_server_home={packages}"]
        command += ["-cp", f"{packages}/mms/frontend/*", "com.amazonaws.ml.mms.ModelServer"]
        command += ["--python", str(python), "-f", str(config), "-s", str(store)]
        with running(command, directory, {"TEMP": str(directory)}) as log_file:
            wait_until_answered(f"http://{inference}/ping", log_file)
            options = f"batch_size={batch_size}&max_batch_delay=20&initial_workers={workers}&synchronous=true"
            post(f"http://{management}/models?url={MODEL}&model_name={MODEL}&{options}", log_file)
            yield Address(inference, management)
