"""The tasks ``chat`` and ``completions``: a prompt in, the model's text out. One request a record, many in flight.

Source: https://platform.openai.com/docs/api-reference/chat, …/completions

What an answer says beside its text goes into headers of its prediction: why it ended, and the tokens of prompt and answer. A
text that was cut off at a limit, or that the model or a filter refuses, is no prediction: the record is a dead letter. The
server has answered it, so nothing is asked again. No message has anything of a prompt or an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from transforms.clients.openai.task import Ask, Task, served_model, texts_of
from transforms.clients.openai.uri import CHAT, COMPLETIONS, OpenAiAddress
from transforms.clients.wire.json import text_bytes
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import MalformedAnswerError, RejectedError
from transforms.headers import FINISH_REASON, TOKENS_COMPLETION, TOKENS_PROMPT
from transforms.printable import shortened
from transforms.types import METHOD_PREDICT, Answer, Failure, Header, Signature, TensorSpec

PROMPT = "prompt"
OUTPUT = "answer"

PROBE = "hello"
"""The prompt of the request that finds out whether a model is there that the server does not list."""

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
        request = self._request(PROBE)
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

    def read(self, document: Mapping[str, Any], rows: int) -> Answer:
        """See ``Task``."""
        choices = document.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise MalformedAnswerError("the answer does not have one choice")
        reason = choices[0].get("finish_reason")
        text, refuses = self._said(choices[0])
        failure = _failure(reason, refuses, document)
        if failure is None and not isinstance(text, str):
            raise MalformedAnswerError(_NO_TEXT)
        answer = np.empty(1, object)
        answer[0] = b"" if failure is not None else text_bytes(text, "the answer's text")
        failures = {} if failure is None else {0: failure}
        return Answer({OUTPUT: answer}, served_model(document), row_headers=[_headers(reason, document)], failures=failures)


class Chat(_Texts):
    """Answers of a chat model, each to one message of the user, behind the system message if there is one."""

    path, name = "chat/completions", CHAT

    def __init__(self, address: OpenAiAddress):
        super().__init__(address)
        self._before = [] if address.system is None else [{"role": "system", "content": address.system}]

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
        tokens = _tokens(document, "completion_tokens")
        after = "" if tokens is None else f" after {tokens} tokens"
        return DeadLetterClass.CUT_ANSWER.failure(
            f"the model's text was cut off{after} (finish_reason=length); raise max_tokens in --model, or ask for less"
        )
    if reason == _FILTERED:
        return DeadLetterClass.REFUSED_ANSWER.failure("a filter keeps the answer back (finish_reason=content_filter)")
    if refuses:
        return DeadLetterClass.REFUSED_ANSWER.failure("the model refuses to answer")
    return None


def _headers(reason: Any, document: Mapping[str, Any]) -> tuple[Header, ...]:
    headers: list[Header] = [(FINISH_REASON, shortened(reason).encode())] if isinstance(reason, str) else []
    for header, field in ((TOKENS_PROMPT, "prompt_tokens"), (TOKENS_COMPLETION, "completion_tokens")):
        if (count := _tokens(document, field)) is not None:
            headers.append((header, b"%d" % count))
    return tuple(headers)


def _tokens(document: Mapping[str, Any], field: str) -> int | None:
    usage = document.get("usage")
    count = usage.get(field) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < 1 << 63 else None
