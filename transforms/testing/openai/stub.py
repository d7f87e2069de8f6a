"""A stub of OpenAI-compatible servers: the list of models, embeddings, chat, completions and rerank.

    python -m transforms.testing.openai.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import numpy as np
from aiohttp import web

from transforms.clients.openai.embeddings import SMALLEST_TEXT
from transforms.clients.openai.rerank import SMALLEST_TEXT as RERANK_TEXT
from transforms.clients.openai.texts import SMALLEST_TEXT as PROMPT_TEXT
from transforms.clients.openai.uri import EMBEDDINGS
from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, hang_up
from transforms.testing.stub_model import StubModel
from transforms.types import Signature, TensorSpec

WIDTH = 8
"""How many numbers the vectors of the default model have."""


def embed(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a vector for each text: its length, then how often each of seven letters stands in it."""
    texts = inputs["input"].tolist()
    return {"embedding": np.array([[len(text), *map(text.count, b"eaionst")] for text in texts], np.float32)}


def embedding_model(name: str = "model") -> StubModel:
    """Returns a model of ``embed``."""
    specs = {"input": TensorSpec("string", (-1,))}, {"embedding": TensorSpec("float32", (-1, WIDTH))}
    model = StubModel.of(*specs, embed)
    model.name = name
    return model


def shout(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns each prompt in capital letters."""
    answers = np.empty(len(inputs["prompt"]), object)
    answers[:] = [text.upper() for text in inputs["prompt"].tolist()]
    return {"answer": answers}


def text_model(name: str = "model") -> StubModel:
    """Returns a model of ``shout``."""
    text = TensorSpec("string", (-1,))
    model = StubModel.of({"prompt": text}, {"answer": text}, shout)
    model.name = name
    return model


def compare(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns for each document the share of the query's words that stand in it."""
    (query,), (documents,) = inputs["query"].tolist(), inputs["documents"].tolist()
    words = set(query.split())
    return {"scores": np.array([[len(words & set(text.split())) / max(1, len(words)) for text in documents]], np.float32)}


def rerank_model(name: str = "model") -> StubModel:
    """Returns a model of ``compare``."""
    inputs = {"query": TensorSpec("string", (-1,)), "documents": TensorSpec("string", (-1, -1))}
    model = StubModel.of(inputs, {"scores": TensorSpec("float32", (-1, -1))}, compare)
    model.name = name
    return model


class OpenAiStub(HttpStub):
    """OpenAI's API with one model and programmable faults. See ``StubServer``.

    The model's function gets the texts as its first input. If that is none of strings, a text is read as numbers, with white
    space between them, so that the models of other stubs can be served; vectors are then filled up with zeros to ``width``.
    A version is a part of the model's name, as in ``gpt-4o-2024-08-06``: ``model`` is answered by ``model-1``.

    Requests for ``SMALLEST_TEXT`` alone, by which a client finds out how long vectors are, meet no faults, and count apart.

    Attributes:
        task: What its URI asks for: ``embeddings``, ``chat``, ``completions`` or ``rerank``. All are served.
        finish: The ``finish_reason`` of a text, by its prompt.
        refusal: What the model says instead of an answer, as a refusal; ``None``: it answers.
        width: How many numbers a vector has, where the model gives fewer.
        lists: Whether the server has a list of its models.
        encodings: What it takes as ``encoding_format``: it refuses others.
        answers_numbers: Whether it answers with numbers, whatever it was asked for, as LitServe does.
        rearrange: Changes the entries of an answer; ``None`` leaves them as they are.
        headers: Further headers of each answer.
        probes: How many probes were answered.
        last_request: The body of the last request.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.task = EMBEDDINGS
        self.finish: Callable[[str], str | None] = lambda _: "stop"
        self.refusal: str | None = None
        if not args and "model" not in kwargs:
            self.model = embedding_model()
        self.width = WIDTH
        self.lists = True
        self.encodings: tuple[str, ...] = ("float", "base64")
        self.answers_numbers = False
        self.rearrange: Callable[[list[Any]], list[Any]] | None = None
        self.headers: dict[str, str] = {}
        self.probes = 0
        self.last_request: dict[str, Any] = {}

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``; there are neither labels nor signatures."""
        asked = "" if version is None else f"-{version}"
        scheme = "openai+https" if self._tls else "openai+http"
        return f"{scheme}://{self.address}/{model or self.model.name}{asked}?task={self.task}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request, unquote(request.path))
        except StubError as error:
            headers = {} if error.retry_after_s is None else {"Retry-After": f"{error.retry_after_s:g}"}
            status = error.http_status or HTTP_STATUSES.get(error.code, 500)
            document = {"error": {"message": error.message, "type": "stub_error", "param": None, "code": error.code.lower()}}
            return web.json_response(document, status=status, headers=headers | self.headers)

    async def _route(self, request: web.Request, path: str) -> web.StreamResponse:
        if path == "/v1/models" and self.lists:
            there = [name for name in self._names() if name]
            return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in there]})
        if path == "/v1/embeddings" and request.method == "POST":
            return await self._embeddings(request)
        if path in ("/v1/chat/completions", "/v1/completions") and request.method == "POST":
            return await self._text(request)
        if path == "/v1/rerank" and request.method == "POST":
            return await self._rerank(request)
        raise StubError("NOT_FOUND", "Not Found")

    def _names(self) -> list[str]:
        name, versions = self.model.name, self.model.versions
        return [name, *(f"{name}-{version}" for version in versions)] if versions else []

    def _served(self, name: str) -> int:
        """The version that answers to a name."""
        base, _, version = name.rpartition("-")
        if name != self.model.name and (base != self.model.name or not version.isdecimal()):
            raise StubError("NOT_FOUND", f"The model `{name}` does not exist.")
        if "LOADING" in self.model.versions.values() and "AVAILABLE" not in self.model.versions.values():
            raise StubError("UNAVAILABLE", "The model is still loading")
        try:
            return self.model.version(self.model.name, int(version) if base == self.model.name else None, None)
        except StubError as error:
            raise StubError("NOT_FOUND", f"The model `{name}` does not exist.") from error

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        asked = self.last_request = await request.json()
        version = self._served(asked["model"])
        if asked.get("encoding_format", "float") not in self.encodings:
            raise StubError("INVALID_ARGUMENT", f"encoding_format: Input should be {' or '.join(self.encodings)}")
        texts = asked["input"]
        as_numbers = self.answers_numbers or asked.get("encoding_format") != "base64"
        width = asked.get("dimensions", self.width)
        if texts == [SMALLEST_TEXT]:
            self.probes += 1
            vectors: Any = np.zeros((1, width), np.float32)
        else:
            if not self.model.signatures:
                raise StubError("NOT_FOUND", "The model does not exist.")
            signature, function = next(iter(self.model.signatures.values()))
            inputs = self._inputs(texts, signature)
            outputs, fault = await self._respond(
                function, inputs, len(texts), request.headers.items(), lambda: hang_up(request)
            )
            if fault is not None and fault.kind == "malformed":
                return web.Response(body=b'{"object": "list", "data": [{"index": 0, "embed', content_type="application/json")
            vectors = next(iter(outputs.values()), [])
        tokens = sum(len(text.split()) for text in texts)
        document = {
            "object": "list",
            "data": self._entries(vectors, width, as_numbers),
            "model": f"{self.model.name}-{version}",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return web.json_response(text=json.dumps(document, default=bytes.decode), headers=self.headers)

    async def _text(self, request: web.Request) -> web.StreamResponse:
        asked = self.last_request = await request.json()
        version = self._served(asked["model"])
        chats = "messages" in asked
        prompt = asked["messages"][-1]["content"] if chats else asked["prompt"]
        if prompt == PROMPT_TEXT:
            self.probes += 1
            said, there = "h", True
        else:
            if not self.model.signatures:
                raise StubError("NOT_FOUND", "The model does not exist.")
            signature, function = next(iter(self.model.signatures.values()))
            inputs = self._inputs([prompt], signature)
            outputs, fault = await self._respond(function, inputs, 1, request.headers.items(), lambda: hang_up(request))
            if fault is not None and fault.kind == "malformed":
                return web.Response(body=b'{"object": "chat.completion", "choices": [{', content_type="application/json")
            values = np.atleast_1d(next(iter(outputs.values()), []))
            there = len(values) > 0
            said = _as_text(values[0]) if there else ""
        message = {"role": "assistant", "content": None if self.refusal else said, "refusal": self.refusal}
        choice = {"index": 0, "finish_reason": self.finish(prompt), **({"message": message} if chats else {"text": said})}
        counts = len(prompt.split()), len(said.split())
        usage = {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}
        model = f"{self.model.name}-{version}"
        document = {"object": "chat.completion", "choices": [choice] * there, "model": model, "usage": usage}
        return web.json_response(document, headers=self.headers)

    async def _rerank(self, request: web.Request) -> web.StreamResponse:
        asked = self.last_request = await request.json()
        version = self._served(asked["model"])
        query, documents = asked["query"], asked["documents"]
        if query == RERANK_TEXT:
            self.probes += 1
            scores: Any = [0.5]
        else:
            _, function = next(iter(self.model.signatures.values()))
            inputs = {
                "query": np.array([query.encode()], object),
                "documents": np.array([[it.encode() for it in documents]], object),
            }
            outputs, fault = await self._respond(function, inputs, 1, request.headers.items(), lambda: hang_up(request))
            if fault is not None and fault.kind == "malformed":
                return web.Response(body=b'{"results": [{"index": 0, "rele', content_type="application/json")
            rows: Any = next(iter(outputs.values()), [])
            scores = rows[0] if len(rows) else []
        results = [{"index": index, "relevance_score": float(score)} for index, score in enumerate(scores)]
        results.sort(key=lambda it: -it["relevance_score"])
        document = {
            "results": results if self.rearrange is None else self.rearrange(results),
            "model": f"{self.model.name}-{version}",
            "usage": {"prompt_tokens": len(query.split()), "total_tokens": len(query.split())},
        }
        return web.json_response(document, headers=self.headers)

    def _inputs(self, texts: list[str], signature: Signature) -> dict[str, np.ndarray]:
        name, spec = next(iter(signature.inputs.items()))
        if spec.dtype == "string":
            array = np.empty(len(texts), object)
            array[:] = [text.encode() for text in texts]
            return {name: array}
        try:
            numbers = np.array([list(map(float, text.split())) for text in texts], spec.dtype)
        except ValueError as error:
            raise StubError("INVALID_ARGUMENT", "the input is no text of numbers") from error
        return {name: numbers if spec.shape is None or len(spec.shape) == 2 else numbers[:, 0]}

    def _entries(self, vectors: Any, width: int, as_numbers: bool) -> Any:
        if np.ndim(vectors) == 0:
            return {"object": "embedding", "embedding": float(vectors)}
        entries = []
        for index, vector in enumerate(vectors):
            row = np.atleast_1d(vector)
            if row.dtype != object:
                row = np.pad(row.astype(np.float32), (0, max(0, width - len(row))))
            as_text = row.dtype != object and not as_numbers
            value = base64.b64encode(row.tobytes()).decode() if as_text else row.tolist()
            entries.append({"object": "embedding", "index": index, "embedding": value})
        return entries if self.rearrange is None else self.rearrange(entries)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return " ".join(map(repr, np.atleast_1d(value).tolist()))


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: OpenAiStub(embedding_model(flags.model), flags.port))


if __name__ == "__main__":
    main()
