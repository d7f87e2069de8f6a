"""``Transport``: the interface of the REST and the gRPC transport to a Vertex AI endpoint."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from transforms.clients.vertex.errors import Reply, VertexRefusal

PREDICT = "/google.cloud.aiplatform.v1.PredictionService/Predict"
"""The gRPC method that the client library calls."""


class Transport(abc.ABC):
    """Sends the requests of one endpoint over REST or gRPC."""

    @abc.abstractmethod
    def body(self, instances: Sequence[Any]) -> bytes:
        """Returns a serialized request.

        Args:
            instances: One JSON value per row.

        Raises:
            TypeError, ValueError: An instance has no JSON form.
        """

    @abc.abstractmethod
    async def send(self, body: bytes, timeout_s: float) -> Reply | VertexRefusal:
        """Sends a request.

        Args:
            body: The serialized request, as ``body`` returned it.
            timeout_s: The time-out in seconds, including the wait for an access token.

        Returns:
            The prediction, or the refusal if the status is not OK.

        Raises:
            ModelError: No answer came, or it can't be read.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Closes the connections; may be called twice."""
