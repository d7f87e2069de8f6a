"""``Transport``: how requests get to a Vertex AI endpoint, over REST or gRPC."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from transforms.clients.vertex.errors import Refusal, Reply

PREDICT = "/google.cloud.aiplatform.v1.PredictionService/Predict"
"""The gRPC method that the client library calls."""


class Transport(abc.ABC):
    """How requests get to an endpoint: REST or gRPC."""

    @abc.abstractmethod
    def body(self, instances: Sequence[Any]) -> bytes:
        """Returns a serialized request.

        Raises:
            TypeError, ValueError: An instance has no JSON form.
        """

    @abc.abstractmethod
    async def send(self, body: bytes, timeout_s: float) -> Reply | Refusal:
        """Sends a request and returns what was answered, whatever that is.

        Raises:
            ModelError: There was no answer, or none that can be read.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Closes the connections; may be called twice."""
