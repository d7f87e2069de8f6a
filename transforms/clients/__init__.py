"""Model-server clients: one package a protocol, found by the scheme of the model URI (``registry.py``)."""

from __future__ import annotations

import dataclasses

from transforms.clients import registry
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.registry import register_client, unregister_client
from transforms.clients.wire.supplied import supply_signature
from transforms.request_headers import check_headers
from transforms.secret_manager import resolve_all

__all__ = ["ClientOptions", "ModelClient", "check_uri", "open_client", "register_client", "unregister_client"]


def check_uri(uri: str) -> None:
    """Checks a model URI without any I/O.

    Raises:
        ConfigError: It can't be used; the message says what form is expected, or what to install.
    """
    registry.parse(uri)


def open_client(uri: str, options: ClientOptions | None = None) -> ModelClient:
    """Makes the client for ``uri``; call it in the asyncio loop that will use it.

    Does no I/O, except that a secret which a header refers to is read, once in a process.

    Raises:
        ConfigError: The URI or a header can't be used, or a package is missing; the message says what to install.
        SecretError: A secret can't be read.
    """
    options = options or ClientOptions()
    options = dataclasses.replace(options, headers=resolve_all(options.headers))
    check_headers(options.headers)
    return supply_signature(registry.open_client(uri, options), options.signature, options.outputs)
