"""Serves the tests' models with KServe's own Python server over V2; runs in its environment, without this project.

python kserve_models.py HTTP_PORT GRPC_PORT
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import kserve  # type: ignore[import-not-found]  # only there
import numpy as np
import uvicorn  # type: ignore[import-not-found]  # only there
from kserve.errors import InvalidInput  # type: ignore[import-not-found]  # only there

POISON, REFUSED = -999.0, -998.0


class HalfPlusTwo(kserve.Model):
    """y = 0.5 * x + 2; a row that holds -999 fails, one that holds -998 is invalid input to it."""

    declared = True

    def load(self) -> bool:
        """Is ready at once."""
        self.ready = True
        return True

    async def get_input_types(self) -> list[dict[str, Any]]:
        """What its metadata say."""
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}] if self.declared else []

    async def get_output_types(self) -> list[dict[str, Any]]:
        """What its metadata say."""
        return [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}] if self.declared else []

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """One tensor in, one out."""
        x = payload.inputs[0].as_numpy()
        if (x == POISON).any():
            raise ValueError("a row is poison")
        if (x == REFUSED).any():
            raise InvalidInput("a row is not for this model")
        y = (np.float32(0.5) * x + np.float32(2)).astype(np.float32)
        output = kserve.InferOutput(name="y", shape=list(y.shape), datatype="FP32", data=y.flatten().tolist())
        return kserve.InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])


class Undeclared(HalfPlusTwo):
    """The same, but nobody has said what it takes."""

    declared = False


class Echo(HalfPlusTwo):
    """Every input as an output of its name."""

    declared = False

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """As it came."""
        outputs = []
        for given in payload.inputs:
            output = kserve.InferOutput(name=given.name, shape=list(given.shape), datatype=given.datatype)
            output.set_data_from_numpy(given.as_numpy(), binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=outputs)


def _bind_to_loopback() -> None:
    """KServe listens on all interfaces, and has no option for another."""
    uvicorn_init, grpc_server = uvicorn.Config.__init__, grpc.aio.server

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        uvicorn_init(self, *args, **{**kwargs, "host": "127.0.0.1"})

    def server(*args: Any, **kwargs: Any) -> Any:
        made = grpc_server(*args, **kwargs)
        add_port = made.add_insecure_port
        made.add_insecure_port = lambda address: add_port(f"127.0.0.1:{address.rpartition(':')[2]}")
        return made

    uvicorn.Config.__init__, grpc.aio.server = init, server


if __name__ == "__main__":
    _bind_to_loopback()
    models = [HalfPlusTwo("half"), Undeclared("undeclared"), Echo("echo")]
    for model in models:
        model.load()
    http_port, grpc_port = map(int, sys.argv[1:])
    kserve.ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, access_log_format=None).start(models)
