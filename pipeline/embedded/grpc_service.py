"""TensorFlow Serving's gRPC services, ``PredictionService`` and ``ModelService``, over the loaded models.

``MultiInference`` and ``HandleReloadConfigRequest`` are not served: gRPC itself answers UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import grpc
from grpc import aio

from pipeline.embedded import inference
from pipeline.embedded.http_status import grpc_message
from pipeline.embedded.servable import Models
from transforms.clients.tf_runtime.serving_error import ServingError
from transforms.clients.tfserving import messages

HOST = "127.0.0.1"

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # as TensorFlow Serving
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server that gets half of the requests
]


def _handlers(models: Models, as_content: bool) -> dict[str, tuple[Callable[[Any], Any], Any]]:
    return {
        messages.PREDICT: (functools.partial(inference.predict, models, as_content=as_content), messages.PredictRequest),
        messages.CLASSIFY: (functools.partial(inference.classify, models), messages.ClassificationRequest),
        messages.REGRESS: (functools.partial(inference.regress, models), messages.RegressionRequest),
        messages.GET_MODEL_METADATA: (functools.partial(inference.model_metadata, models), messages.GetModelMetadataRequest),
        messages.GET_MODEL_STATUS: (functools.partial(inference.model_status, models), messages.GetModelStatusRequest),
    }


def _unary(answer: Callable[[Any], Any], executor: Executor) -> Callable[[Any, aio.ServicerContext], Any]:
    async def handle(request: Any, context: aio.ServicerContext) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, answer, request)
        except ServingError as error:
            await context.abort(grpc.StatusCode[error.code.name], grpc_message(error))

    return handle


async def start_grpc(models: Models, executor: Executor, port: int, as_content: bool = False) -> tuple[aio.Server, int]:
    """Starts the gRPC server on 127.0.0.1.

    Args:
        models: The models to serve.
        executor: The thread pool in which the models run.
        port: The port; 0 for a free one.
        as_content: Send outputs as ``tensor_content`` rather than as typed values.

    Returns:
        The running server and its port.

    Raises:
        OSError: The port is in use.
    """
    services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
    for path, (answer, request_class) in _handlers(models, as_content).items():
        _, service, method = path.split("/")
        services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(
            _unary(answer, executor),
            request_deserializer=request_class.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())
    )
    try:
        bound = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC can't listen on {HOST}:{port}; is the port in use?") from error
    await server.start()
    return server, bound
