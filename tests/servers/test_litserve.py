"""The client against LitServe's OpenAI specs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.servers.litserve import CHAT, EMBEDDINGS, litserve
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.errors import BatchTooLargeError, NotServedError, RejectedError

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def embeddings() -> Iterator[str]:
    with litserve(EMBEDDINGS) as address:
        yield f"openai+http://{address}/letters?task=embeddings"


def use(uri: str, work: Callable[[ModelClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def embed(uri: str, *texts: bytes) -> Any:
    values = np.array(texts, object)
    return use(uri, lambda client: client.predict({"input": values}, len(texts), TIMEOUT_S))


@pytest.mark.parametrize("encoding", ["", "&encoding_format=base64", "&encoding_format=float"])
def test_embeddings(embeddings: str, encoding: str) -> None:
    answer = embed(embeddings + encoding, b"a sea", "t\u00e4e".encode(), b"x")
    assert answer.outputs["embedding"].dtype == np.float32
    assert answer.outputs["embedding"].tolist() == [[5, 1, 2, 0, 0, 0, 1, 0], [3, 1, 0, 0, 0, 0, 0, 1], [1] + [0] * 7]
    assert answer.version == "letters"


def test_a_refused_text_and_too_many(embeddings: str) -> None:
    with pytest.raises(RejectedError, match="one of the texts can't be embedded"):
        embed(embeddings, b"a", b"poison")
    with pytest.raises(BatchTooLargeError) as caught:
        embed(embeddings, *[b"a"] * 33)
    assert caught.value.most_rows == 32


def test_another_path(embeddings: str) -> None:
    with pytest.raises(NotServedError, match="is its API at another path"):
        embed(embeddings.replace("/letters", "/openai/v1/letters"), b"a")


def test_chat() -> None:
    with litserve(CHAT) as address:
        uri = f"openai+http://{address}/shout?task=chat&temperature=0&max_tokens=20"

        def say(text: bytes) -> Any:
            return use(uri, lambda client: client.predict({"prompt": np.array([text], object)}, 1, TIMEOUT_S))

        answer = say("tell me \u00e4".encode())
        assert list(answer.outputs["answer"]) == ["TELL ME \u00c4".encode()]
        assert dict(answer.row_headers[0]) == {
            "inference.finish_reason": b"stop",
            "inference.tokens.prompt": b"3",
            "inference.tokens.completion": b"3",
        }
        with pytest.raises(RejectedError, match="this message can't be answered"):
            say(b"poison")
