"""``Unmended``: an answer that the server is to mend, kept over a failure of the request for that.

It was paid for, and what it took is in the mended answer's count: the next attempt asks for the mending alone.
"""

from __future__ import annotations

from transforms.clients.base import ModelClient
from transforms.types import Answer, Signature


class Unmended:
    """What is kept for one span."""

    def __init__(self) -> None:
        self._kept: tuple[ModelClient, Signature, Answer] | None = None

    def answer(self, client: ModelClient, signature: Signature) -> Answer | None:
        """Returns the answer, if it is of this client and was asked for by this signature."""
        if self._kept is None:
            return None
        of_client, of_signature, answer = self._kept
        return answer if of_client is client and of_signature is signature else None

    def keep(self, client: ModelClient, signature: Signature, answer: Answer) -> None:
        """Keeps an answer while its mending is asked for."""
        self._kept = client, signature, answer

    def settled(self) -> None:
        """The mending was answered or refused."""
        self._kept = None
