"""``supply_signature``: a client whose model has the signature of ``--signature``, whatever its server publishes.

A client that needs the signature for its requests (gRPC, the Open Inference Protocol) takes it from ``ClientOptions``
itself. One whose server publishes none, such as KServe V1 and Vertex AI, sends JSON values as they are. Here they are made
of the inputs: an object by name for each row (``json_rows.py``). And the answers are read as the file declares them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from transforms.clients.base import ModelClient, RequestPreview
from transforms.clients.declared import merged
from transforms.clients.selection import OutputSelection
from transforms.clients.wire.declared_outputs import check_declared
from transforms.clients.wire.json_outputs import PREDICTIONS, array_of
from transforms.clients.wire.json_rows import as_instances, row_values
from transforms.errors import MalformedAnswerError
from transforms.types import Answer, ModelMetadata, Signature


class _Supplied(ModelClient):
    def __init__(self, client: ModelClient, declared: Signature, outputs: tuple[str, ...]):
        self._client, self._selection = client, OutputSelection(outputs)
        self._declared, self._as_documents = declared, False
        # The client's own signature has only the outputs that are wanted: the others are no contradiction.
        wanted = {name: spec for name, spec in declared.outputs.items() if name in outputs or not outputs}
        self._of_wanted = dataclasses.replace(declared, outputs=wanted)
        self._where, self._signature = "the model", declared

    @property
    def metadata_requests(self) -> int:
        return self._client.metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        found = await self._client.metadata(timeout_s)
        self._where = found.model
        self._as_documents = not found.signature.known
        published = found.signature
        signature = self._declared if self._as_documents else merged(published, self._of_wanted, found.model)
        self._signature = self._selection.of(signature)
        return dataclasses.replace(found, signature=self._signature)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        if not self._as_documents:
            return self._checked(await self._client.predict(inputs, rows, timeout_s))
        answer = await self._client.predict(as_instances(row_values(inputs)), rows, timeout_s)
        outputs = answer.outputs
        declared = self._declared.outputs
        if list(outputs) == [PREDICTIONS] and len(declared) == 1:
            outputs = {next(iter(declared)): outputs[PREDICTIONS]}
        try:
            answer.outputs = {
                name: array_of(name, list(values), self._declared) if name in declared else values
                for name, values in outputs.items()
            }
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        return self._checked(answer)

    def _checked(self, answer: Answer) -> Answer:
        names = [name for name in self._of_wanted.outputs if name in self._signature.outputs]
        try:
            check_declared(answer.outputs, self._signature, names)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        return answer

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview | None:
        return self._client.preview(as_instances(row_values(inputs)) if self._as_documents else inputs, rows)

    async def close(self) -> None:
        await self._client.close()


def supply_signature(client: ModelClient, declared: Signature | None, outputs: tuple[str, ...] = ()) -> ModelClient:
    """Returns a client whose metadata have the signature of the file; without one, the client itself.

    Args:
        client: The client.
        declared: The file's signature; ``None`` if no file is given.
        outputs: As ``ClientOptions.outputs``.

    Its ``metadata`` raises ``NotServedError`` if the server publishes a signature that the file contradicts.
    """
    return client if declared is None else _Supplied(client, declared, outputs)
