"""Numeric rows over a protocol of texts, so that the contract's tests fit it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from transforms.clients.base import ModelClient
from transforms.types import Answer, ModelMetadata


class AsText(ModelClient):
    """Sends the rows of a numeric input as texts of numbers, and takes as many numbers of each answer as they had.

    Args:
        client: A client of a model that takes one text a row.
        name: Its input.
    """

    def __init__(self, client: ModelClient, name: str):
        self._client, self._name = client, name

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        found = await self._client.metadata(timeout_s)
        return dataclasses.replace(found, version=found.version.removeprefix("model-"))

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        (values,) = inputs.values()
        texts = np.empty(len(values), object)
        texts[:] = [" ".join(map(_text, np.atleast_1d(row).tolist())).encode() for row in values]
        answer = await self._client.predict({self._name: texts}, rows, timeout_s)
        [(output, found)] = answer.outputs.items()
        vectors = np.asarray([_numbers(row) for row in found], np.float32)
        vectors = vectors[:, : np.prod(values.shape[1:], dtype=int)].reshape(-1, *values.shape[1:])
        return dataclasses.replace(answer, outputs={output: vectors}, version=answer.version.removeprefix("model-"))

    async def close(self) -> None:
        await self._client.close()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else repr(value)


def _numbers(row: object) -> object:
    return [float(word) for word in row.split()] if isinstance(row, bytes) else row
