"""Model-server clients: one file a protocol, found by the scheme of the model URI."""

from __future__ import annotations

import dataclasses
import importlib

from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import ConfigError
from transforms.secret_manager import resolve_all

SCHEMES = {
    "grpc": "transforms.clients.tfserving.grpc",
    "grpcs": "transforms.clients.tfserving.grpc",
    "http": "transforms.clients.tfserving.rest",
    "https": "transforms.clients.tfserving.rest",
    "oip+grpc": "transforms.clients.open_inference.grpc",
    "oip+grpcs": "transforms.clients.open_inference.grpc",
    "oip+http": "transforms.clients.open_inference.http",
    "oip+https": "transforms.clients.open_inference.http",
    "mms+http": "transforms.clients.multi_model_server.http",
    "mms+https": "transforms.clients.multi_model_server.http",
    "vertex": "transforms.clients.vertex.client",
    "saved_model": "transforms.clients.saved_model.client",
}
"""URI scheme to the module whose ``parse(uri)`` checks a URI and whose ``open(uri, options)`` makes the client."""


def check_uri(uri: str) -> None:
    """Checks a model URI without any I/O.

    Raises:
        ConfigError: It can't be used; the message says what form is expected.
    """
    _module(uri).parse(uri)


def open_client(uri: str, options: ClientOptions | None = None) -> ModelClient:
    """Makes the client for ``uri``; call it in the asyncio loop that will use it.

    Does no I/O, except that a secret which a header refers to is asked for, once in a process.

    Raises:
        ConfigError: The URI can't be used.
        SecretError: A secret can't be read.
    """
    options = options or ClientOptions()
    options = dataclasses.replace(options, headers=resolve_all(options.headers))
    client: ModelClient = _module(uri).open(uri, options)
    return client


def _module(uri: str):  # type: ignore[no-untyped-def]  # a module, by name: imported only when its scheme is asked for
    scheme = uri.partition("://")[0]
    if "://" not in uri or scheme not in SCHEMES:
        forms = (
            "grpc://HOST:PORT/MODEL[@VERSION], http://HOST:PORT/v1/models/MODEL, oip+grpc://HOST:PORT/MODEL[/VERSION], "
            "oip+http://HOST:PORT/MODEL[/VERSION], mms+http://HOST:PORT/MODEL, vertex://PROJECT/REGION/ENDPOINT, "
            "saved_model:///PATH"
        )
        raise ConfigError([f"--model={uri}: unknown form; use one of {forms}, or embedded"])
    return importlib.import_module(SCHEMES[scheme])
