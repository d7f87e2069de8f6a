"""Chat and completions: what is asked, what is read, and which answers are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from transforms.clients import ClientOptions, open_client
from transforms.clients.openai.texts import Chat
from transforms.clients.openai.uri import parse
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.testing.openai.stub import OpenAiStub, text_model
from transforms.types import Answer

TIMEOUT_S = 20.0
TASKS = pytest.mark.parametrize("task", ["chat", "completions"])


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with OpenAiStub(text_model()) as stub:
        yield stub


def ask(stub: OpenAiStub, task: str, prompt: bytes = b"tell me", more: str = "") -> Answer:
    async def run() -> Answer:
        stub.task = task
        async with open_client(stub.uri() + more) as client:
            await client.metadata(TIMEOUT_S)
            return await client.predict({"prompt": np.array([prompt], object)}, 1, TIMEOUT_S)

    return asyncio.run(run())


@TASKS
def test_an_answer_and_what_is_said_of_it(stub: OpenAiStub, task: str) -> None:
    answer = ask(stub, task, "tell me ä".encode())
    assert list(answer.outputs["answer"]) == ["TELL ME ä".encode()]
    assert answer.version == "model-1"
    assert answer.row_headers == [
        (
            ("inference.finish_reason", b"stop"),
            ("inference.tokens.prompt", b"3"),
            ("inference.tokens.completion", b"3"),
        )
    ]
    assert answer.failures == {}


def test_what_is_asked(stub: OpenAiStub) -> None:
    more = '&temperature=0.2&max_tokens=50&seed=-7&top_p=1&stop=%0A&stop=END&parameters={"top_k":3}'
    asked = {
        "temperature": 0.2,
        "max_tokens": 50,
        "seed": -7,
        "top_p": 1.0,
        "stop": ["\n", "END"],
        "top_k": 3,
        "model": "model",
    }
    ask(stub, "chat", more=more)
    assert stub.last_request == {**asked, "messages": [{"role": "user", "content": "tell me"}]}
    ask(stub, "completions", more=more)
    assert stub.last_request == {**asked, "prompt": "tell me"}


def test_the_system_message(stub: OpenAiStub) -> None:
    async def run() -> None:
        stub.task = "chat"
        async with open_client(stub.uri(), ClientOptions(system_prompt="Be brief.")) as client:
            await client.metadata(TIMEOUT_S)
            await client.predict({"prompt": np.array([b"tell me"], object)}, 1, TIMEOUT_S)

    asyncio.run(run())
    assert stub.last_request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "tell me"},
    ]
    assert "Be brief" not in repr(ClientOptions(system_prompt="Be brief."))


@TASKS
@pytest.mark.parametrize(
    ("finish", "kind", "said"),
    [
        ("length", "CutAnswer", "cut off after 2 tokens (finish_reason=length); raise max_tokens"),
        ("content_filter", "RefusedAnswer", "finish_reason=content_filter"),
    ],
)
def test_an_answer_that_is_none(stub: OpenAiStub, task: str, finish: str, kind: str, said: str) -> None:
    stub.finish = lambda _: finish
    answer = ask(stub, task, b"a secret")
    failure = answer.failures[0]
    assert (failure.stage, failure.error_class) == ("predict", kind)
    assert said in failure.message
    assert "secret" not in failure.message.lower()


def test_a_refusal(stub: OpenAiStub) -> None:
    stub.refusal = "I can't help with a secret"
    failure = ask(stub, "chat").failures[0]
    assert (failure.error_class, failure.message) == ("RefusedAnswer", "the model refuses to answer")


def _answers(document: Any) -> Any:
    return Chat(parse("openai+http://h:1/m?task=chat")).read(document, {}, 1)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": ["x"]},
        {"choices": [{"message": {"content": "a"}}] * 2},
        {"choices": [{"message": "a"}]},
        {"choices": [{"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}]},
        {"choices": [{"message": {"content": ["a"]}}]},
        {"choices": [{"message": {"content": "\ud800"}}]},
    ],
)
def test_answers_without_a_text(document: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        _answers(document)


def test_an_answer_that_says_little() -> None:
    answer = _answers({"choices": [{"message": {"content": ""}, "finish_reason": None}], "usage": {"prompt_tokens": "3"}})
    assert (list(answer.outputs["answer"]), answer.row_headers, answer.version) == ([b""], [()], "")


@TASKS
def test_a_model_that_is_not_listed_is_asked_for_one_token(stub: OpenAiStub, task: str) -> None:
    stub.lists = False
    assert not ask(stub, task).failures
    assert stub.probes == 1
    stub.model.name = "other"
    stub.task = task
    with pytest.raises(NotServedError, match="does not exist"):
        asyncio.run(_metadata(stub.uri(model="model")))


@pytest.mark.parametrize(
    ("more", "limits"),
    [("", [1, None]), ("&max_completion_tokens=9", [None]), ("&max_tokens=9", [1])],
)
def test_a_model_that_refuses_max_tokens_is_asked_without(more: str, limits: list[int | None]) -> None:
    """Azure lists no deployments, and OpenAI's models that reason take max_completion_tokens only."""
    asked: list[int | None] = []

    async def send(body: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(body.get("max_tokens"))
        if "max_tokens" in body:
            raise RejectedError("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return {}

    proof = Chat(parse(f"openai+http://h:1/m?task=chat{more}")).prove(send)
    if limits[-1] is None:
        asyncio.run(proof)
    else:
        with pytest.raises(RejectedError, match="max_completion_tokens"):
            asyncio.run(proof)
    assert asked == limits


async def _metadata(uri: str) -> None:
    async with open_client(uri) as client:
        await client.metadata(TIMEOUT_S)
