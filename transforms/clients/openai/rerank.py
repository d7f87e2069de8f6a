"""The task ``rerank``: a query and some documents in, how well each document fits the query out. One request a record.

Source: https://docs.vllm.ai (``/v1/rerank``), which is the form of Jina's and Cohere's APIs; OpenAI itself has none.

The answer has the documents by their ``index``, the best first. The scores are put into the order of the record's documents.
So every document must be answered once: with ``top_n`` some would have no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.openai.task import Ask, Task, served_model, texts_of, tokens_of
from transforms.clients.openai.uri import RERANK, OpenAiAddress
from transforms.errors import MalformedAnswerError, RejectedError
from transforms.types import METHOD_PREDICT, Answer, Signature, TensorSpec, Tokens

QUERY = "query"
DOCUMENTS = "documents"
OUTPUT = "scores"

SMALLEST_TEXT = "hello"
"""Query and document of the request that finds out whether the model has the task."""


class Rerank(Task):
    """The scores that one model gives to documents.

    Args:
        address: The model, and what is asked of it.
    """

    path = "rerank"
    max_rows = 1
    proved = True  # an answer has no form that only an answer shows

    def __init__(self, address: OpenAiAddress):
        self._model, self._parameters = address.model, address.parameters

    async def prove(self, ask: Ask) -> None:
        """See ``Task``."""
        _scores(await ask(self._request(SMALLEST_TEXT, [SMALLEST_TEXT])), 1)

    def signature(self) -> Signature:
        """See ``Task``. Each record has as many documents as it likes, and as many scores."""
        inputs = {QUERY: TensorSpec("string", (-1,)), DOCUMENTS: TensorSpec("string", (-1, -1))}
        return Signature(RERANK, METHOD_PREDICT, inputs, {OUTPUT: TensorSpec("float32", (-1, -1))})

    def body(self, inputs: Mapping[str, np.ndarray], rows: int) -> Mapping[str, Any]:
        """See ``Task``."""
        documents = texts_of(DOCUMENTS, inputs)
        if not documents:
            raise RejectedError(f"input '{DOCUMENTS}' is empty: there is nothing to compare the query with")
        return self._request(texts_of(QUERY, inputs)[0], documents)

    def _request(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        return {**self._parameters, "model": self._model, QUERY: query, DOCUMENTS: documents}

    def read(
        self, document: Mapping[str, Any], inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None = None
    ) -> Answer:
        """See ``Task``."""
        scores = _scores(document, inputs[DOCUMENTS].size)
        return Answer({OUTPUT: scores[np.newaxis]}, served_model(document), tokens=tokens_of(document))


def _scores(document: Mapping[str, Any], documents: int) -> np.ndarray:
    """Returns the scores of an answer in the order of the request's documents, shape ``[documents]``, float32."""
    entries = document.get("results")
    if not isinstance(entries, list):
        raise MalformedAnswerError("the answer has no list of results")
    if len(entries) != documents:
        raise MalformedAnswerError(f"the answer has {len(entries)} results for {documents} documents")
    scores: dict[int, float] = {}
    for entry in entries:
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is not int or not 0 <= index < documents or index in scores:
            raise MalformedAnswerError(f"the answer's results do not have the indexes 0 to {documents - 1}, each once")
        score = entry.get("relevance_score")
        if type(score) is not float and type(score) is not int:
            raise MalformedAnswerError("a result of the answer has no relevance_score")
        scores[index] = score
    try:
        with np.errstate(over="ignore"):
            return np.array([scores[index] for index in range(documents)], np.float64).astype(np.float32)
    except OverflowError as error:
        raise MalformedAnswerError("a relevance_score of the answer is an integer beyond float64") from error
