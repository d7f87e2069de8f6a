"""``python -m pipeline`` with a scheme that sends Google's tokens to this machine: ``vertex+token://…``, else as ``vertex://``.

To a loopback address ``vertex://`` sends none.
"""

from __future__ import annotations

import sys

from transforms.clients import ClientOptions, ModelClient, register_client
from transforms.clients.vertex import client
from transforms.clients.vertex.uri import VertexAddress

SCHEME = "vertex+token"


class WithToken:
    """The protocol of that scheme."""

    @staticmethod
    def parse(uri: str) -> VertexAddress:
        """As ``vertex://``."""
        return client.parse(uri.replace(SCHEME, "vertex", 1))

    @staticmethod
    def open(uri: str, options: ClientOptions) -> ModelClient:
        """As ``vertex://``, with the application-default credentials wherever it is."""
        from transforms.clients.vertex.credentials import GoogleTokens
        from transforms.clients.vertex.grpc import GrpcTransport

        address = WithToken.parse(uri)
        return client.VertexClient(address, GrpcTransport(address, options, GoogleTokens()), options.outputs)


if __name__ == "__main__":
    from pipeline.__main__ import run

    register_client(SCHEME, WithToken)
    sys.argv[0] = "pipeline"
    run()
