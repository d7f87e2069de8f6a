"""``Task``: what is asked of a model of an OpenAI-compatible server. Each task has a path, a request and an answer."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from transforms.errors import RejectedError
from transforms.json_kinds import json_kind
from transforms.printable import counted
from transforms.types import Answer, Signature, Tokens

Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends one request, given its body, and returns the document of its answer."""


class Task(abc.ABC):
    """One task of one model. Servers publish no signature: the task states it.

    Attributes:
        path: The path of its requests, under that of the API.
        max_rows: The most rows of a request; ``None`` for any number.
        proved: Whether ``prove`` has found what the signature and the requests need.
    """

    path: ClassVar[str]
    max_rows: ClassVar[int | None] = None
    proved: bool = False

    @abc.abstractmethod
    async def prove(self, ask: Ask) -> None:
        """Sends the smallest request, to learn what nothing but an answer says.

        Raises:
            ModelError: As ``ModelClient.predict``.
        """

    @abc.abstractmethod
    def signature(self) -> Signature:
        """Returns the signature; called after ``prove``."""

    @abc.abstractmethod
    def body(self, inputs: Mapping[str, np.ndarray], rows: int) -> Mapping[str, Any]:
        """Returns the body of a request.

        Raises:
            RejectedError: An input can't be sent.
        """

    @abc.abstractmethod
    def read(
        self, document: Mapping[str, Any], inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None = None
    ) -> Answer:
        """Returns the answer of a document: one value of each output for each row.

        Args:
            document: The answer's JSON.
            inputs: What was asked.
            rows: How many rows the request had.
            before: The tokens of the answer that the model was asked to mend, if it was.

        Raises:
            MalformedAnswerError: It can't be matched to the rows of the request.
        """

    def mending(self, inputs: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Returns the body of a request that may get a better answer than one with failures; ``None`` if that is no use."""
        return None


def texts_of(name: str, inputs: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the texts of the input ``name``, one a row.

    Raises:
        RejectedError: It is not there, or a value is no text in UTF-8.
    """
    if name not in inputs:
        raise RejectedError(f"the request has no input '{name}'")
    texts = []
    for value in inputs[name].ravel().tolist():
        if not isinstance(value, bytes | str):
            raise RejectedError(f"input '{name}' must be text, but came as {json_kind(value)}")
        try:
            texts.append(value.decode() if isinstance(value, bytes) else value)
        except UnicodeDecodeError:  # its text quotes the value
            raise RejectedError(
                f"input '{name}' is no text: {counted(len(value), 'byte that is', 'bytes that are')} no UTF-8"
            ) from None
    return texts


def tokens_of(document: Mapping[str, Any]) -> Tokens | None:
    """Returns the tokens that an answer states; ``None`` if it states none."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    found = Tokens(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
    return found if found != Tokens() else None


MOST_TOKENS = 100_000_000
"""The highest believable token count of one request. ``--token_limit`` would wait very long for a higher one."""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def served_model(document: Mapping[str, Any]) -> str:
    """Returns the name by which an answer calls the model that gave it; empty if it names none."""
    name = document.get("model")
    return name if isinstance(name, str) else ""
