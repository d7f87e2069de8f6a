"""Rerank: what is asked, what is read, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.errors import ConfigError, MalformedAnswerError, RejectedError, UnavailableError
from transforms.testing.openai.stub import OpenAiStub, rerank_model

TIMEOUT_S = 20.0
DOCUMENTS = (b"no match", b"a red and a green car", "ein rötliches car".encode())


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with OpenAiStub(model=rerank_model()) as stub:
        stub.task = "rerank"
        yield stub


def inputs_of(query: bytes, documents: tuple[bytes, ...]) -> dict[str, np.ndarray]:
    row = np.empty((1, len(documents)), object)
    row[0, :] = documents
    return {"query": np.array([query], object), "documents": row}


def use(stub: OpenAiStub, work: Callable[[ModelClient], Any], more: str = "") -> Any:
    async def run() -> Any:
        async with open_client(stub.uri() + more) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def ask(stub: OpenAiStub, query: bytes = b"red car", documents: tuple[bytes, ...] = DOCUMENTS, more: str = "") -> Any:
    return use(stub, lambda client: client.predict(inputs_of(query, documents), 1, TIMEOUT_S), more)


def test_scores_come_in_the_order_of_the_records_documents(stub: OpenAiStub) -> None:
    answer = ask(stub)
    assert answer.outputs["scores"].tolist() == [[0.0, 1.0, 0.5]]
    assert answer.outputs["scores"].dtype == np.float32
    assert (answer.version, answer.tokens.prompt) == ("model-1", 2)
    assert stub.last_request == {"model": "model", "query": "red car", "documents": [text.decode() for text in DOCUMENTS]}


def test_a_listed_model_is_not_asked_at_the_start_and_another_one_is(stub: OpenAiStub) -> None:
    ask(stub)
    assert stub.probes == 0
    stub.lists = False
    ask(stub)
    assert stub.probes == 1


def test_further_fields_go_into_each_request_but_none_that_leaves_out_documents(stub: OpenAiStub) -> None:
    ask(stub, more='&parameters={"truncate_prompt_tokens":9}')
    assert stub.last_request["truncate_prompt_tokens"] == 9
    with pytest.raises(ConfigError, match="top_n"):
        ask(stub, more='&parameters={"top_n":2}')


REARRANGED = {
    "one is missing": (lambda results: results[1:], "2 results for 3 documents"),
    "one stands twice": (lambda results: [results[0], *results[:2]], "indexes 0 to 2, each once"),
    "an index is none": (lambda results: [*results[:2], {"index": True, "relevance_score": 1.0}], "indexes 0 to 2"),
    "a score is beyond float64": (
        lambda results: [*results[:2], {**results[2], "relevance_score": 10**400}],
        "beyond float64",
    ),
    "a score is none": (lambda results: [*results[:2], {**results[2], "relevance_score": "1"}], "no relevance_score"),
    "no list": (lambda results: {"0": results[0]}, "no list of results"),
}


@pytest.mark.parametrize("case", REARRANGED)
def test_what_can_not_be_matched_is_never_guessed(stub: OpenAiStub, case: str) -> None:
    stub.rearrange, why = REARRANGED[case]
    with pytest.raises(MalformedAnswerError, match=f"^model model at .*: .*{why}"):
        ask(stub)


def test_no_documents_are_not_asked_for(stub: OpenAiStub) -> None:
    with pytest.raises(RejectedError, match="input 'documents' is empty"):
        ask(stub, documents=())


def test_what_is_no_text_is_named(stub: OpenAiStub) -> None:
    with pytest.raises(RejectedError, match="input 'documents' is no text: 1 byte that is no UTF-8"):
        ask(stub, documents=(b"a", b"\xff"))


def test_faults_are_of_their_classes(stub: OpenAiStub) -> None:
    stub.faults.fail_next(1)
    with pytest.raises(UnavailableError):
        ask(stub)
