"""TLS from the PEM files that ``ClientOptions`` names, for HTTP and for gRPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from transforms.clients.base import ClientOptions
from transforms.errors import ConfigError


def ssl_context(options: ClientOptions) -> ssl.SSLContext:
    """Returns the context of HTTPS connections.

    Raises:
        ConfigError: A file can't be read; the message names the options.
    """
    try:
        context = ssl.create_default_context(cafile=options.tls_ca_file)
        if options.tls_cert_file:
            context.load_cert_chain(options.tls_cert_file, options.tls_key_file)
    except OSError as error:  # ssl.SSLError is one
        names = ", ".join(f"{n}={getattr(options, n)}" for n in ("tls_ca_file", "tls_cert_file", "tls_key_file"))
        raise ConfigError([f"{names}: can't be read: {error.strerror or type(error).__name__}"]) from error
    return context


def channel_credentials(options: ClientOptions) -> Any:
    """Returns the ``grpc.ChannelCredentials`` of TLS channels.

    Raises:
        ConfigError: A file can't be read; the message names the option.
    """
    import grpc  # here: HTTP needs none of it

    contents: list[bytes | None] = []
    for name in ("tls_ca_file", "tls_key_file", "tls_cert_file"):
        path = getattr(options, name)
        try:
            contents.append(Path(path).read_bytes() if path else None)
        except OSError as error:
            raise ConfigError([f"{name}={path}: can't be read: {error.strerror}"]) from error
    return grpc.ssl_channel_credentials(*contents)
