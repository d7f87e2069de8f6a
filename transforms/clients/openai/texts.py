"""The tasks ``chat`` and ``completions``: a prompt in, the model's text out. One request a record, many in flight.

Source: https://platform.openai.com/docs/api-reference/chat, …/completions

What an answer says beside its text goes into headers of its prediction: why it ended, and the tokens of prompt and answer. A
text that was cut off at a limit, or that the model or a filter refuses, is no prediction: the record is a dead letter. The
server has answered it, so nothing is asked again. No message has anything of a prompt or an answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from transforms.clients.openai.task import Ask, Task, served_model, texts_of, tokens_of
from transforms.clients.openai.uri import CHAT, COMPLETIONS, OpenAiAddress
from transforms.clients.wire.json import text_bytes
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import MalformedAnswerError, RejectedError
from transforms.formats.answer_schema import AnswerSchema, OffSchemaError
from transforms.headers import FINISH_REASON, TOKENS_COMPLETION, TOKENS_PROMPT
from transforms.printable import shortened
from transforms.types import METHOD_PREDICT, Answer, Failure, Header, Signature, TensorSpec, Tokens

PROMPT = "prompt"
OUTPUT = "answer"

SMALLEST_TEXT = "hello"
"""The prompt of the request that finds out whether a model is there that the server does not list."""

Outputs = Mapping[str, Sequence[Any] | np.ndarray]

_MENDING = "This does not fit the JSON schema. Answer again, with JSON that fits it and nothing else. What is wrong"
_LENGTH, _FILTERED = "length", "content_filter"
_NO_TEXT = "the answer has no text"


class _Texts(Task):
    """What both tasks have in common.

    Args:
        address: The model, and what is asked of it.
    """

    max_rows = 1
    proved = True  # an answer has no form that only an answer shows
    name: ClassVar[str]

    def __init__(self, address: OpenAiAddress):
        self._model, self._parameters = address.model, address.parameters

    async def prove(self, ask: Ask) -> None:
        """See ``Task``: asks for one token; of a model that takes no such limit (OpenAI's that reason) without one."""
        request = self._request(SMALLEST_TEXT)
        if "max_completion_tokens" in self._parameters:
            await ask(request)
            return
        try:
            await ask({**request, "max_tokens": 1})
        except RejectedError:
            if "max_tokens" in self._parameters:
                raise
            await ask(request)

    def signature(self) -> Signature:
        """See ``Task``."""
        text = TensorSpec("string", (-1,))
        return Signature(self.name, METHOD_PREDICT, {PROMPT: text}, {OUTPUT: text})

    def body(self, inputs: Mapping[str, np.ndarray], rows: int) -> Mapping[str, Any]:
        """See ``Task``."""
        (prompt,) = texts_of(PROMPT, inputs)
        return self._request(prompt)

    def _request(self, prompt: str) -> dict[str, Any]:
        return {**self._parameters, "model": self._model, **self._asked(prompt)}

    def _asked(self, prompt: str) -> dict[str, Any]:
        raise NotImplementedError

    def _said(self, choice: Mapping[str, Any]) -> tuple[Any, bool]:
        """Returns the text of a choice, and whether it is a refusal."""
        raise NotImplementedError

    def read(
        self, document: Mapping[str, Any], inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None = None
    ) -> Answer:
        """See ``Task``."""
        reason, text, failure = self._choice(document)
        outputs = self._nothing()
        if failure is None:
            try:
                outputs = self._outputs(text)
            except OffSchemaError as error:
                failure = DeadLetterClass.ANSWER_SCHEMA_ERROR.failure(str(error))
        tokens = tokens_of(document)
        headers = _headers(reason, (tokens or Tokens()).plus(before or Tokens()))
        failures = {} if failure is None else {0: failure}
        return Answer(outputs, served_model(document), row_headers=[headers], failures=failures, tokens=tokens)

    def _choice(self, document: Mapping[str, Any]) -> tuple[Any, Any, Failure | None]:
        """Returns the reason why an answer ended, its text, and its failure if it has no usable text."""
        choices = document.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise MalformedAnswerError("the answer does not have one choice")
        reason = choices[0].get("finish_reason")
        text, refuses = self._said(choices[0])
        failure = _failure(reason, refuses, document)
        if failure is None and not isinstance(text, str):
            raise MalformedAnswerError(_NO_TEXT)
        return reason, text, failure

    def _nothing(self) -> Outputs:
        """The outputs of a row without an answer."""
        return {OUTPUT: np.array([b""], object)}

    def _outputs(self, text: str) -> Outputs:
        return {OUTPUT: np.array([text_bytes(text, "the answer's text")], object)}


class Chat(_Texts):
    """Answers of a chat model, each to one message of the user, behind the system message if there is one.

    With a schema an answer is JSON that fits it, and its fields are the outputs. One that does not fit may be asked for once
    more (``mending``): the model is shown it, and what is wrong with it.
    """

    path, name = "chat/completions", CHAT

    def __init__(self, address: OpenAiAddress):
        super().__init__(address)
        self._before = [] if address.system is None else [{"role": "system", "content": address.system}]
        self._schema = None if address.answer_schema is None else AnswerSchema(address.answer_schema)
        if self._schema is not None:
            asked = {"name": "answer", "schema": self._schema.document, "strict": self._schema.strict}
            self._parameters = {**self._parameters, "response_format": {"type": "json_schema", "json_schema": asked}}

    def signature(self) -> Signature:
        """See ``Task``."""
        found = super().signature()
        return found if self._schema is None else dataclasses.replace(found, outputs=self._schema.fields)

    def mending(self, inputs: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """See ``Task``."""
        _, text, failure = self._choice(document)
        if self._schema is None or failure is not None:
            return None
        try:
            self._schema.read(text)
        except OffSchemaError as error:
            request = self.body(inputs, 1)
            said = [{"role": "assistant", "content": text}, {"role": "user", "content": f"{_MENDING}: {error.said}"}]
            return {**request, "messages": [*request["messages"], *said]}
        return None

    def _nothing(self) -> Outputs:
        return super()._nothing() if self._schema is None else {name: [None] for name in self._schema.fields}

    def _outputs(self, text: str) -> Outputs:
        if self._schema is None:
            return super()._outputs(text)
        return {name: [value] for name, value in self._schema.read(text).items()}

    def _asked(self, prompt: str) -> dict[str, Any]:
        return {"messages": [*self._before, {"role": "user", "content": prompt}]}

    def _said(self, choice: Mapping[str, Any]) -> tuple[Any, bool]:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise MalformedAnswerError(_NO_TEXT)
        return message.get("content"), bool(message.get("refusal"))


class Completions(_Texts):
    """The texts by which a model goes on with prompts."""

    path, name = "completions", COMPLETIONS

    def _asked(self, prompt: str) -> dict[str, Any]:
        return {"prompt": prompt}

    def _said(self, choice: Mapping[str, Any]) -> tuple[Any, bool]:
        return choice.get("text"), False


def _failure(reason: Any, refuses: bool, document: Mapping[str, Any]) -> Failure | None:
    if reason == _LENGTH:
        tokens = tokens_of(document)
        after = "" if tokens is None or tokens.completion is None else f" after {tokens.completion} tokens"
        return DeadLetterClass.CUT_ANSWER.failure(
            f"the model's text was cut off{after} (finish_reason=length); raise max_tokens in --model, or ask for less"
        )
    if reason == _FILTERED:
        return DeadLetterClass.REFUSED_ANSWER.failure("a filter keeps the answer back (finish_reason=content_filter)")
    if refuses:
        return DeadLetterClass.REFUSED_ANSWER.failure("the model refuses to answer")
    return None


def _headers(reason: Any, tokens: Tokens) -> tuple[Header, ...]:
    headers: list[Header] = [(FINISH_REASON, shortened(reason).encode())] if isinstance(reason, str) else []
    for header, count in ((TOKENS_PROMPT, tokens.prompt), (TOKENS_COMPLETION, tokens.completion)):
        if count is not None:
            headers.append((header, b"%d" % count))
    return tuple(headers)
