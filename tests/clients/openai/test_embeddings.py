"""Embeddings: what is asked, what is read, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.openai.errors import of_document
from transforms.errors import BatchTooLargeError, MalformedAnswerError, NotServedError, RejectedError, TransientError
from transforms.testing.openai.stub import OpenAiStub

TIMEOUT_S = 20.0


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with OpenAiStub() as stub:
        yield stub


def use(stub: OpenAiStub, work: Callable[[ModelClient], Awaitable[Any]], more: str = "") -> Any:
    async def run() -> Any:
        async with open_client(stub.uri() + more) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def ask(stub: OpenAiStub, *texts: Any, more: str = "") -> Any:
    values = np.empty(len(texts), object)
    values[:] = texts
    return use(stub, lambda client: client.predict({"input": values}, len(texts), TIMEOUT_S), more)


TEXTS = (b"a sea", "täe".encode(), b"")
VECTORS = [[5, 1, 2, 0, 0, 0, 1, 0], [4, 1, 0, 0, 0, 0, 0, 1], [0] * 8]


def test_a_batch_is_one_request(stub: OpenAiStub) -> None:
    answer = ask(stub, *TEXTS)
    assert answer.outputs["embedding"].tolist() == VECTORS
    assert answer.outputs["embedding"].dtype == np.float32
    assert answer.version == "model-1"
    assert stub.last_request == {"model": "model", "input": ["a sea", "täe", ""], "encoding_format": "base64"}
    assert (stub.faults.batch_sizes, stub.probes) == ([3], 1)


def test_parameters_go_into_each_request(stub: OpenAiStub) -> None:
    async def signature(client: ModelClient) -> Any:
        return str((await client.metadata(TIMEOUT_S)).signature.outputs["embedding"])

    assert use(stub, signature, '&dimensions=5&parameters={"user":"k"}') == "float32[?,5]"
    assert stub.last_request == {
        **{"model": "model", "input": ["hello"], "encoding_format": "base64"},
        **{"dimensions": 5, "user": "k"},
    }


@pytest.mark.parametrize("answers_numbers", [False, True])
@pytest.mark.parametrize("encodings", [("float",), ("float", "base64")])
def test_servers_without_base64(stub: OpenAiStub, encodings: tuple[str, ...], answers_numbers: bool) -> None:
    """Some refuse it, some answer with numbers all the same."""
    stub.encodings, stub.answers_numbers = encodings, answers_numbers
    assert ask(stub, *TEXTS).outputs["embedding"].tolist() == VECTORS
    assert stub.last_request["encoding_format"] == encodings[-1]


def test_an_encoding_that_was_asked_for_is_not_replaced(stub: OpenAiStub) -> None:
    stub.encodings = ("float",)
    with pytest.raises(NotServedError, match="encoding_format: Input should be float"):
        ask(stub, b"a", more="&encoding_format=base64")


def test_entries_in_any_order(stub: OpenAiStub) -> None:
    stub.rearrange = lambda entries: entries[::-1]
    assert ask(stub, *TEXTS).outputs["embedding"].tolist() == VECTORS


def _with(index: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda entries: [*entries[:-1], {**entries[-1], "index": index}]


@pytest.mark.parametrize(
    ("rearrange", "said"),
    [
        (_with(0), "indexes 0 to 2, each once"),
        (_with(3), "indexes 0 to 2, each once"),
        (_with(-1), "indexes 0 to 2, each once"),
        (_with(True), "indexes 0 to 2, each once"),
        (lambda entries: [{"embedding": e["embedding"]} for e in entries], "indexes 0 to 2, each once"),
        (lambda entries: [[1.0]] * len(entries), "indexes 0 to 2, each once"),
        (lambda entries: [*entries, entries[0]], "4 rows for a request of 3"),
        (lambda entries: [{**e, "embedding": None} for e in entries], "has no vector"),
        (lambda entries: [{**e, "embedding": []} for e in entries], "has no vector"),
        (lambda entries: [{**e, "embedding": [[1.0], [1.0, 2.0]]} for e in entries], "has no vector"),
        (lambda entries: [{**e, "embedding": [True]} for e in entries], "has no vector"),
        (lambda entries: [{**e, "embedding": "AAAA"} for e in entries], "no base64 of float32"),
        (lambda entries: [{**e, "embedding": "é"} for e in entries], "no base64 of float32"),
        (lambda entries: [{**e, "embedding": [0.5] * (e["index"] + 1)} for e in entries], "different lengths"),
    ],
)
def test_entries_that_can_not_be_matched(stub: OpenAiStub, rearrange: Any, said: str) -> None:
    async def work(client: ModelClient) -> Any:
        stub.rearrange = rearrange
        return await client.predict({"input": np.array(TEXTS, object)}, 3, TIMEOUT_S)

    with pytest.raises(MalformedAnswerError, match=f"model model at .*{said}") as told:
        use(stub, work)
    assert told.value.tokens is not None, "which the server has charged for all the same"


def test_vectors_of_another_length_are_another_model(stub: OpenAiStub) -> None:
    """They are refused until the metadata are asked for again, which then have the new signature."""

    async def work(client: ModelClient) -> Any:
        stub.width = 12
        one = {"input": np.array([b"a"], object)}
        with pytest.raises(MalformedAnswerError, match="its vectors have 12 numbers; at the start they had 8"):
            await client.predict(one, 1, TIMEOUT_S)
        metadata = await client.metadata(TIMEOUT_S)
        return str(metadata.signature.outputs["embedding"]), (await client.predict(one, 1, TIMEOUT_S)).outputs

    spec, outputs = use(stub, work)
    assert spec == "float32[?,12]"
    assert outputs["embedding"].shape == (1, 12)
    assert stub.probes == 2


def test_metadata_ask_the_model_only_once(stub: OpenAiStub) -> None:
    """An idle job asks for them every few seconds, and requests cost money."""
    for lists in (True, False):
        stub.lists = lists

        async def work(client: ModelClient) -> None:
            stub.probes = 0
            for _ in range(3):
                await client.metadata(TIMEOUT_S)

        use(stub, work)
        assert stub.probes == 0


def test_a_model_that_is_no_longer_listed_is_asked_again(stub: OpenAiStub) -> None:
    async def work(client: ModelClient) -> None:
        stub.model.name = "other"
        with pytest.raises(NotServedError, match=r"does not exist.*; it lists other, other-1"):
            await client.metadata(TIMEOUT_S)

    use(stub, work)


def test_a_model_that_is_served_and_not_listed(stub: OpenAiStub) -> None:
    """Lists leave out aliases and wildcards."""
    stub.lists = False
    assert ask(stub, b"a").version == "model-1"


def test_a_path_at_which_there_is_no_api(stub: OpenAiStub) -> None:
    async def run() -> None:
        async with open_client(f"openai+http://{stub.address}/api/model?task=embeddings") as client:
            with pytest.raises(NotServedError, match=r"HTTP 404: Not Found; is its API at another path\?"):
                await client.metadata(TIMEOUT_S)

    asyncio.run(run())


def test_a_text_that_is_no_utf_8_costs_no_request(stub: OpenAiStub) -> None:
    with pytest.raises(
        RejectedError, match=r"model model at .*input 'input' is no text: 2 bytes that are no UTF-8"
    ) as caught:
        ask(stub, b"\xff\xfe")
    assert "xff" not in repr(caught.value.args)
    assert stub.faults.requests == 0


def test_the_most_inputs_are_learnt(stub: OpenAiStub) -> None:
    text = (
        "Invalid 'input': array too long. Expected an array with maximum length 2, but got an array with length 3 instead."
    )
    stub.faults.fail_next(1, "INVALID_ARGUMENT", text)
    with pytest.raises(BatchTooLargeError) as caught:
        ask(stub, *TEXTS)
    assert caught.value.most_rows == 2


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"error": {"code": 502, "message": "upstream"}}, TransientError),
        ({"error": {"message": "odd"}}, TransientError),
        ({"error": {"code": 400, "message": "too long"}}, RejectedError),
    ],
)
def test_an_error_in_an_answer_without_an_error_status(document: dict[str, Any], kind: type[Exception]) -> None:
    """Some gateways answer 200 before they know."""
    assert isinstance(of_document("m", json.dumps(document).encode(), document), kind)
    assert of_document("m", b"", {"data": [], "error": None}) is None
