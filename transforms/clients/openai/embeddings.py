"""The task ``embeddings``: texts in, one vector of float32 for each; a whole batch in one request.

Source: https://platform.openai.com/docs/api-reference/embeddings

Vectors are asked for as base64 of their bytes, which costs a fraction of what numbers in JSON cost. A server that has no
such form answers with numbers, or refuses it and is then asked for numbers. An answer must have one entry for each input,
each with its ``index``: entries may come in any order, and what has no index is not guessed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.openai.task import Ask, Task, served_model, texts_of, tokens_of
from transforms.clients.openai.uri import BASE64, EMBEDDINGS, FLOAT, OpenAiAddress
from transforms.errors import MalformedAnswerError, RejectedError
from transforms.printable import counted
from transforms.types import METHOD_PREDICT, Answer, Signature, TensorSpec, Tokens

INPUT = "input"
OUTPUT = "embedding"

SMALLEST_TEXT = "hello"
"""The text of the request that finds out how many numbers a vector has."""


class Embeddings(Task):
    """The embeddings of one model.

    Args:
        address: The model, and what is asked of it.
    """

    path = "embeddings"

    def __init__(self, address: OpenAiAddress):
        self._model, self._parameters = address.model, address.parameters
        self._encoding = str(address.parameters.get("encoding_format", BASE64))
        self._numbers = 0  # of a vector

    async def prove(self, ask: Ask) -> None:
        """See ``Task``: asks for one vector, whose length is that of all."""
        try:
            document = await ask(self._request([SMALLEST_TEXT]))
        except RejectedError:
            if "encoding_format" in self._parameters or self._encoding == FLOAT:
                raise
            document = await ask({**self._request([SMALLEST_TEXT]), "encoding_format": FLOAT})
            self._encoding = FLOAT
        self._numbers = _vectors(document, 1).shape[1]
        self.proved = True

    def signature(self) -> Signature:
        """See ``Task``."""
        outputs = {OUTPUT: TensorSpec("float32", (-1, self._numbers))}
        return Signature(EMBEDDINGS, METHOD_PREDICT, {INPUT: TensorSpec("string", (-1,))}, outputs)

    def body(self, inputs: Mapping[str, np.ndarray], rows: int) -> Mapping[str, Any]:
        """See ``Task``."""
        return self._request(texts_of(INPUT, inputs))

    def _request(self, texts: Sequence[str]) -> dict[str, Any]:
        return {**self._parameters, "model": self._model, INPUT: texts, "encoding_format": self._encoding}

    def read(
        self, document: Mapping[str, Any], inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None = None
    ) -> Answer:
        """See ``Task``. After vectors of another length the next metadata are asked for anew: the model is another one."""
        vectors = _vectors(document, rows)
        if vectors.shape[1] != self._numbers:
            self.proved = False
            raise MalformedAnswerError(f"its vectors have {vectors.shape[1]} numbers; at the start they had {self._numbers}")
        return Answer({OUTPUT: vectors}, served_model(document), tokens=tokens_of(document))


def _vectors(document: Mapping[str, Any], rows: int) -> np.ndarray:
    """Returns the vectors of an answer in the order of its inputs, shape ``[rows, n]``, float32."""
    entries = document.get("data")
    if not isinstance(entries, list):
        raise MalformedAnswerError("the answer has no list of data")
    if len(entries) != rows:
        raise MalformedAnswerError(f"the answer has {counted(len(entries), 'row')} for a request of {rows}")
    found: list[np.ndarray | None] = [None] * rows
    for entry in entries:
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is not int or not 0 <= index < rows or found[index] is not None:
            raise MalformedAnswerError(f"the answer's entries do not have the indexes 0 to {rows - 1}, each once")
        found[index] = _vector(entry.get(OUTPUT))
    vectors = [vector for vector in found if vector is not None]
    if len({len(vector) for vector in vectors}) > 1:
        raise MalformedAnswerError("the answer's vectors have different lengths")
    return np.stack(vectors)


def _vector(value: Any) -> np.ndarray:
    if isinstance(value, str):
        try:
            return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32, copy=False)
        except ValueError:
            raise MalformedAnswerError("a vector is no base64 of float32") from None
    try:
        vector = np.array(value)
    except ValueError:  # lists of different lengths
        vector = np.array(None)
    if vector.ndim != 1 or not len(vector) or vector.dtype.kind not in "iuf":
        raise MalformedAnswerError("an entry of the answer has no vector: neither a list of numbers nor base64")
    with np.errstate(over="ignore"):
        return vector.astype(np.float32)
