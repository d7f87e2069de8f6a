"""``--outputs``: which of a model's outputs a client gives back, for every protocol.

``select_outputs`` wraps any client, so a protocol need not know of it. One that can ask a server for only some outputs, or
that matches outputs to rows, reads ``ClientOptions.outputs`` by itself too: what nobody wants is then not sent, and can't
make an answer malformed (``wire/outputs.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from transforms.clients.base import ModelClient, RequestPreview
from transforms.errors import MalformedAnswerError, NotServedError
from transforms.printable import listed
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, Answer, ModelMetadata, Signature

T = TypeVar("T")

OWN_OUTPUTS = {METHOD_CLASSIFY: ("classes", "scores"), METHOD_REGRESS: ("value",)}
"""Methods whose answers have outputs of their own, whatever the signature declares."""


class OutputSelection:
    """The outputs that are wanted of one model.

    Args:
        names: Their names; none: all.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self._seen = not names

    def of(self, signature: Signature) -> Signature:
        """Returns the signature with only the outputs that are wanted; one that declares none is left as it is.

        Raises:
            NotServedError: It declares outputs, but not these; the message lists those there are.
        """
        there = OWN_OUTPUTS.get(signature.method) or tuple(signature.outputs)
        if not self.names or not there:
            return signature
        if missing := self._missing(there):
            raise NotServedError(f"--outputs={missing}: the model has no such output; it has {listed(sorted(there))}")
        self._seen = True
        if signature.method in OWN_OUTPUTS:
            return signature
        return dataclasses.replace(signature, outputs={name: signature.outputs[name] for name in self.names})

    def take(self, outputs: Mapping[str, T]) -> dict[str, T]:
        """Returns those of an answer's outputs that are wanted.

        Raises:
            NotServedError: It does not have them, and nothing has ever said that the model gives them.
            MalformedAnswerError: It does not have them, but the signature or an answer before had.
        """
        if not self.names:
            return dict(outputs)
        if outputs and (missing := self._missing(outputs)):
            found = listed(sorted(outputs))
            if self._seen:
                raise MalformedAnswerError(f"the answer has no output {missing}; it has {found}")
            raise NotServedError(f"--outputs={missing}: the model's answer has no such output; it has {found}")
        self._seen = True
        return {name: outputs[name] for name in outputs if name in self.names}

    def _missing(self, there: Iterable[str]) -> str:
        return ",".join(sorted(set(self.names).difference(there)))


class _SelectedOutputs(ModelClient):
    def __init__(self, client: ModelClient, names: Sequence[str]):
        self._client, self._selection = client, OutputSelection(names)

    @property
    def metadata_requests(self) -> int:
        return self._client.metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        metadata = await self._client.metadata(timeout_s)
        return dataclasses.replace(metadata, signature=self._selection.of(metadata.signature))

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        return self._selected(await self._client.predict(inputs, rows, timeout_s))

    def _selected(self, answer: Answer) -> Answer:
        if (again := answer.again) is not None:
            answer.again = lambda timeout_s: self._asked_again(again, timeout_s)
        answer.outputs = self._selection.take(answer.outputs)
        answer.unproven_outputs = tuple(name for name in answer.unproven_outputs if name in answer.outputs)
        answer.repeated_outputs = tuple(name for name in answer.repeated_outputs if name in answer.outputs)
        return answer

    async def _asked_again(self, again: Callable[[float], Awaitable[Answer]], timeout_s: float) -> Answer:
        return self._selected(await again(timeout_s))

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview | None:
        return self._client.preview(inputs, rows)

    async def close(self) -> None:
        await self._client.close()


def select_outputs(client: ModelClient, names: Sequence[str]) -> ModelClient:
    """Returns a client that gives back only the outputs called ``names``; with none, the client itself.

    Its metadata declare only these, where they are declared. A name that the model does not have is ``NotServedError`` when
    the metadata are read or, where the server declares none, at the first answer.
    """
    return _SelectedOutputs(client, names) if names else client
