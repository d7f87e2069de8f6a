"""OpenAI-compatible servers (OpenAI, vLLM, SGLang, Ollama, LiteLLM, KServe, LitServe …): ``openai+http://HOST/MODEL?task=…``.

Source: https://platform.openai.com/docs/api-reference

The servers publish no signature; the task states it (``task.py``). The list of models shows that a model exists. A missing
entry proves nothing: some servers have no list, or leave out names that they take. Then the smallest request decides.

An answer names the model that gave it, such as ``gpt-4o-2024-08-06``: that is the version.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.openai.embeddings import Embeddings
from transforms.clients.openai.errors import from_answer, of_document
from transforms.clients.openai.rerank import Rerank
from transforms.clients.openai.task import Task, served_model, tokens_of
from transforms.clients.openai.texts import Chat, Completions
from transforms.clients.openai.uri import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, OpenAiAddress, parse
from transforms.clients.wire.http import Connect, HttpConnection
from transforms.clients.wire.json import dumps, loads, read_answer
from transforms.clients.wire.metadata_errors import as_metadata_errors, of_metadata
from transforms.errors import MalformedAnswerError, ModelError, NotServedError, RejectedError, TransientError
from transforms.printable import listed
from transforms.types import Answer, ModelMetadata, Tokens

__all__ = ["OpenAiClient", "open", "parse"]

HINT = "is it an OpenAI-compatible server, and is its API at this path?"

_TASKS: dict[str, Callable[[OpenAiAddress], Task]] = {
    EMBEDDINGS: Embeddings,
    CHAT: Chat,
    COMPLETIONS: Completions,
    RERANK: Rerank,
}


def open(uri: str, options: ClientOptions) -> OpenAiClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return OpenAiClient(parse(uri), options)


class OpenAiClient(ModelClient):
    """A client of one model and one task.

    Args:
        address: The model, the server's address, and what is asked.
        options: TLS files, headers, the number of connections, and the system message.
        connect: Makes the connections.
    """

    def __init__(self, address: OpenAiAddress, options: ClientOptions, connect: Connect = HttpConnection):
        address = dataclasses.replace(address, system=options.system_prompt, answer_schema=options.answer_schema)
        self._address, self._where = address, str(address)
        self._http = connect(self._where, address.secure, options)
        self._task: Task = _TASKS[address.task](address)
        self._url = address.url(self._task.path)
        self._version, self._metadata_requests = "", 0
        self._listed = True  # when the server was last asked; at first nothing speaks against it

    @property
    def metadata_requests(self) -> int:
        """See ``ModelClient``."""
        return self._metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. Sends a request to the model only if nothing else says that it is there and what it gives."""
        with as_metadata_errors(HINT, where=self._where):
            there = await self._models(timeout_s)
            is_listed = self._address.model in there
            if not self._task.proved or (self._listed and not is_listed):
                await self._prove(there, timeout_s)
            self._listed = is_listed
        return ModelMetadata(self._address.model, self._version, self._task.signature(), self._task.max_rows)

    async def _models(self, timeout_s: float) -> list[str]:
        """Returns the names of the models that the server lists; none where it has no list, or does not show it."""
        try:
            answer = await self._http.send("GET", self._address.models_url, timeout_s)
        except NotServedError:  # a redirect, for example; that of a request to the model is told
            return []
        if answer.status != 200:
            if isinstance(error := from_answer(self._where, answer), TransientError):
                raise error
            return []
        try:
            return [str(model["id"]) for model in loads(of_metadata(answer.body, self._where))["data"]]
        except (KeyError, TypeError, ValueError):
            return []

    async def _prove(self, there: list[str], timeout_s: float) -> None:
        async def ask(body: Mapping[str, Any]) -> Mapping[str, Any]:
            self._metadata_requests += 1
            document = await self._ask(dumps(body), timeout_s)
            self._version = served_model(document)
            return document

        try:
            await self._task.prove(ask)
        except NotServedError as error:
            if not there or self._address.model in there:
                raise
            raise NotServedError(f"{error}; it lists {listed(sorted(there))}") from error
        except MalformedAnswerError as error:
            raise self._named(error) from error

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``."""
        if self._task.max_rows is not None and rows > self._task.max_rows:
            raise RejectedError(f"{self._where}: a request takes one record, not {rows} rows")
        document = await self._ask(self._body(inputs, rows), timeout_s)
        answer = self._read(document, inputs, rows)
        if answer.failures and (mending := self._task.mending(inputs, document)) is not None:
            with contextlib.suppress(TypeError):  # the answer has half of a surrogate pair, which can't be sent back
                body = dumps(mending)
                answer.again = lambda timeout_s: self._again(body, inputs, rows, answer.tokens, timeout_s)
        return answer

    async def _again(
        self, body: bytes, inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None, timeout_s: float
    ) -> Answer:
        answer = self._read(await self._ask(body, timeout_s), inputs, rows, before)
        answer.asked = 2
        return answer

    def _read(
        self, document: Mapping[str, Any], inputs: Mapping[str, np.ndarray], rows: int, before: Tokens | None = None
    ) -> Answer:
        try:
            answer = self._task.read(document, inputs, rows, before)
        except MalformedAnswerError as error:
            named = self._named(error)
            if isinstance(named, MalformedAnswerError):
                named.tokens = tokens_of(document)  # they were taken all the same
            raise named from error
        self._version = answer.version
        return answer

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", str(self._url), len(self._body(inputs, rows)))

    def _body(self, inputs: Mapping[str, np.ndarray], rows: int) -> bytes:
        try:
            return dumps(self._task.body(inputs, rows))
        except RejectedError as error:
            raise self._named(error) from error
        except TypeError as error:  # half a surrogate pair in a text
            raise RejectedError(f"{self._where}: the request has no JSON form: {error}") from error

    def _named(self, error: ModelError) -> ModelError:
        """An error that names the model; the task's own do not."""
        return error if str(error).startswith(self._where) else type(error)(f"{self._where}: {error}")

    async def _ask(self, body: bytes, timeout_s: float) -> Mapping[str, Any]:
        answer = await self._http.send("POST", self._url, timeout_s, body)
        if answer.status != 200:
            raise from_answer(self._where, answer)
        document = read_answer(answer.body, self._where)
        if not isinstance(document, dict):
            raise MalformedAnswerError(f"{self._where}: the answer is no JSON object")
        if (failed := of_document(self._where, answer.body, document)) is not None:
            raise failed
        return document

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._http.close()
