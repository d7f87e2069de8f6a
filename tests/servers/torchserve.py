"""A real TorchServe for the tests, without PyTorch.

TorchServe's Python side needs two names of ``torch`` for a model that is none of PyTorch's: ``torch.Tensor``, to ask
whether an answer is one, and ``torch.cuda.is_available``. A file with these stands in for the package of some gigabytes.
Its launcher is left out for the same reason as multi-model-server's: one process id file for the whole machine.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from tests.servers.environment import environment
from tests.servers.multi_model_server import MAX_REQUEST_BYTES, MODEL, MODEL_FOLDER, Address
from tests.servers.server_process import folder, free_ports, post, running, wait_until_answered

REQUIREMENTS = (
    *("torchserve==0.12.0", "packaging==26.3", "pillow==13.0.0"),
    *("psutil==7.2.2", "pyyaml==6.0.3", "wheel==0.48.0"),
)

TORCH = '''"""Stands in for PyTorch: the two names that TorchServe asks of it."""


class Tensor:
    """Nothing is one."""


class cuda:
    """No GPU."""

    is_available = staticmethod(lambda: False)
'''


@contextlib.contextmanager
def torchserve(batch_size: int = 1, workers: int = 1) -> Iterator[Address]:
    """Runs a server with the model ``half_plus_two``.

    Args:
        batch_size: Requests that the server puts together for one call of the handler, at most.
        workers: Processes that serve the model.
    """
    python = environment("torchserve", REQUIREMENTS) / "bin" / "python"
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    with folder("torchserve") as directory:
        store = directory / "models"
        shutil.copytree(MODEL_FOLDER, store / MODEL)
        shim = directory / "shim"
        shim.mkdir()
        (shim / "torch.py").write_text(TORCH)
        inference, management, metrics, grpc, grpc_management = free_ports(5)
        address = Address(f"127.0.0.1:{inference}", f"127.0.0.1:{management}")
        config = directory / "config.properties"
        config.write_text(
            f"inference_address=http://{address.inference}\nmanagement_address=http://{address.management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\ngrpc_inference_address=127.0.0.1\n"
            f"grpc_management_address=127.0.0.1\ngrpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
            f"model_store={store}\nmax_request_size={MAX_REQUEST_BYTES}\nnumber_of_netty_threads=4\njob_queue_size=1000\n"
            "disable_token_authorization=true\nenable_model_api=true\ndisable_system_metrics=true\n"
        )
        command = ["java", "-Xmx256m", f"-Djava.io.tmpdir={directory}", f"-Dmodel_server_home={packages}"]
        command += ["-cp", f"{packages}/ts/frontend/*", "org.pytorch.serve.ModelServer"]
        command += ["--python", str(python), "-f", str(config), "-s", str(store), "-ncs"]
        with running(command, directory, {"TEMP": str(directory), "PYTHONPATH": str(shim)}) as log_file:
            wait_until_answered(f"http://{address.management}/models", log_file)
            options = f"batch_size={batch_size}&max_batch_delay=20&initial_workers={workers}&synchronous=true"
            post(f"http://{address.management}/models?url={MODEL}&model_name={MODEL}&{options}", log_file)
            yield address
