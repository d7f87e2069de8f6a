"""Answers in the form of a JSON Schema: asked for, checked, asked for once more, and else a dead letter of their class."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.dispatching import Time, recording
from transforms.clients import ClientOptions, open_client
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.testing.openai.stub import OpenAiStub, text_model
from transforms.types import Answer, ModelMetadata

pytest.importorskip("fastjsonschema", reason="requirements.txt has it: make .venv/.installed")

TIMEOUT_S = 20.0
SCHEMA = {
    "type": "object",
    "properties": {"fraud": {"type": "boolean"}, "why": {"type": "string"}},
    "required": ["fraud", "why"],
    "additionalProperties": False,
}
GOOD = b'{"fraud": true, "why": "a secret"}'
PROMPT = {"prompt": np.array([b"Is it a fraud?"], object)}


class Model:
    """Gives the answers that a test wrote down, the last of them again and again."""

    def __init__(self, *answers: bytes):
        self.answers = list(answers)
        self.prompts: list[bytes] = []
        self.said: list[bytes] = []
        self.then: Callable[[], None] = lambda: None

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.prompts += inputs["prompt"].tolist()
        self.then()
        self.then = lambda: None
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.said.append(said)
        return {"answer": np.array([said], object)}


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with OpenAiStub(text_model()) as stub:
        stub.task = "chat"
        yield stub


def serve(stub: OpenAiStub, *answers: bytes) -> Model:
    model = Model(*answers)
    signature, _ = stub.model.signatures["serving_default"]
    stub.model.signatures["serving_default"] = signature, model
    return model


def options(**more: Any) -> ClientOptions:
    return ClientOptions(answer_schema=json.dumps(SCHEMA), **more)


def ask(stub: OpenAiStub, **more: Any) -> Answer:
    """One request, as the client sends it."""

    async def run() -> Answer:
        async with open_client(stub.uri(), options(**more)) as client:
            await client.metadata(TIMEOUT_S)
            return await client.predict(PROMPT, 1, TIMEOUT_S)

    return asyncio.run(run())


def score(stub: OpenAiStub, **more: Any) -> RowsResult:
    """One record, as a job scores it."""

    async def run() -> RowsResult:
        client, time = open_client(stub.uri(), options(**more)), Time()
        signature = (await client.metadata(TIMEOUT_S)).signature
        dispatcher = Dispatcher(client, signature, DispatchOptions(), time, time.sleep)
        try:
            [result] = await dispatcher.answer(PROMPT, 1)
            return result
        finally:
            await dispatcher.close()

    return asyncio.run(run())


def test_the_schema_is_asked_for(stub: OpenAiStub) -> None:
    serve(stub, GOOD)
    answer = ask(stub)
    assert stub.last_request["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    assert answer.outputs == {"fraud": [True], "why": ["a secret"]}
    assert (answer.failures, answer.again, answer.asked) == ({}, None, 1)
    assert "fraud" not in repr(options())


def test_its_fields_are_the_outputs_of_the_model(stub: OpenAiStub) -> None:
    async def run(names: tuple[str, ...]) -> ModelMetadata:
        async with open_client(stub.uri(), options(outputs=names)) as client:
            return await client.metadata(TIMEOUT_S)

    def outputs(*names: str) -> dict[str, str]:
        return {name: str(spec) for name, spec in asyncio.run(run(names)).signature.outputs.items()}

    assert outputs() == {"fraud": "bool[?]", "why": "string[?]"}
    assert outputs("fraud") == {"fraud": "bool[?]"}


def test_an_answer_that_does_not_fit_is_asked_for_once_more_with_what_is_wrong(stub: OpenAiStub) -> None:
    model = serve(stub, b'{"fraud": "maybe", "why": "x"}', GOOD)
    result = score(stub, outputs=("fraud",))
    assert (result.outputs, result.failures, result.attempts) == ({"fraud": [True]}, {}, 2)
    assert stub.last_request["messages"][0] == {"role": "user", "content": "Is it a fraud?"}
    assert stub.last_request["messages"][1] == {"role": "assistant", "content": '{"fraud": "maybe", "why": "x"}'}
    assert stub.last_request["messages"][2]["content"].endswith("What is wrong: data.fraud must be boolean")
    assert len(model.prompts) == 2
    asked, answered = (sum(len(text.split()) for text in texts) for texts in (model.prompts, model.said))
    headers = dict(result.row_headers[0])
    assert (headers["inference.tokens.prompt"], headers["inference.tokens.completion"]) == (b"%d" % asked, b"%d" % answered)


def test_an_answer_that_never_fits_is_a_dead_letter_of_its_class(stub: OpenAiStub) -> None:
    model = serve(stub, b"a secret, not JSON")
    result = score(stub)
    assert (len(model.prompts), result.attempts) == (2, 2)
    failure = result.failures[0]
    assert (failure.stage, failure.error_class, failure.message) == ("predict", "AnswerSchemaError", "the answer is no JSON")


def test_a_caller_may_leave_it_at_the_first_answer(stub: OpenAiStub) -> None:
    """As ``pipeline.check --try`` does."""
    model = serve(stub, b"{}")
    answer = ask(stub)
    assert answer.failures[0].error_class == "AnswerSchemaError"
    assert answer.outputs == {"fraud": [None], "why": [None]}
    assert len(model.prompts) == 1


@pytest.mark.parametrize(("finish", "kind"), [("length", "CutAnswer"), ("content_filter", "RefusedAnswer")])
def test_what_is_cut_off_or_refused_is_not_asked_for_again(stub: OpenAiStub, finish: str, kind: str) -> None:
    model = serve(stub, b'{"fraud": tr')
    stub.finish = lambda _: finish
    assert score(stub).failures[0].error_class == kind
    assert len(model.prompts) == 1


@pytest.mark.parametrize("records", [1, 20])
def test_a_second_request_that_is_refused_leaves_the_first_answer(stub: OpenAiStub, records: int) -> None:
    """It is longer, and may be too long. The record was refused, and after 16 such records the job waited for ever."""
    model = serve(stub, b"{}")

    def refuse() -> None:
        stub.faults.fail_next(1, "INVALID_ARGUMENT", "maximum context length", http_status=400)

    for _ in range(records):
        model.then = refuse
        result = score(stub)
        assert (result.failures[0].error_class, result.attempts) == ("AnswerSchemaError", 2)


def test_a_second_request_that_fails_is_repeated_alone(stub: OpenAiStub) -> None:
    """What the server does not answer says nothing of the record, and the first answer was paid for."""
    model = serve(stub, b"{}", GOOD)
    model.then = lambda: stub.faults.fail_next(1)
    with recording() as seen:
        result = score(stub)
    assert result.outputs == {"fraud": [True], "why": ["a secret"]}
    assert (result.attempts, seen.failures) == (3, ["Unavailable"])
    first, mending = model.prompts
    assert (first, mending.startswith(b"This does not fit the JSON schema.")) == (b"Is it a fraud?", True)
    asked = sum(len(text.split()) for text in model.prompts)
    assert dict(result.row_headers[0])["inference.tokens.prompt"] == b"%d" % asked
