"""The model URI of OpenAI-compatible servers.

    openai+http://HOST[:PORT][/PATH]/MODEL?task=TASK[&PARAMETER=VALUE…]

TASK is embeddings, chat, completions or rerank; ``openai+https://`` is for TLS.

PATH is where the server has its API. Without one it is ``v1``, as with OpenAI, vLLM, Ollama and most others. A model's name
may have slashes behind a path that ends with ``v1`` (``/v1/BAAI/bge-small-en-v1.5``); elsewhere they are written ``%2F``.

What requests say beside their input are parameters: those of ``PARAMETERS``; ``parameters``, a JSON object, has all others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote

import yarl

from transforms.clients.uri import mistake, split
from transforms.clients.wire.json import loads

FORM = "openai+http://HOST[:PORT][/PATH]/MODEL?task=embeddings|chat|completions|rerank[&PARAMETER=VALUE…][&parameters=JSON]"

EMBEDDINGS = "embeddings"
CHAT = "chat"
COMPLETIONS = "completions"
RERANK = "rerank"
TASKS = (EMBEDDINGS, CHAT, COMPLETIONS, RERANK)

BASE64 = "base64"
FLOAT = "float"

_DEFAULT_PATH = "v1"
_OURS = ("task", "parameters")


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _encoding(text: str) -> str:
    if text not in (BASE64, FLOAT):
        raise ValueError
    return text


class Parameter:
    """A parameter of a task.

    Args:
        read: Returns the value that the request has; raises ``ValueError`` if the text is none.
        expected: What the text must be, for the error message.
        several: Whether it may stand several times; the request then has a list.
    """

    def __init__(self, read: Callable[[str], Any], expected: str, several: bool = False):
        self.read, self.expected, self.several = read, expected, several


_NUMBER = Parameter(_number, "a number")
_COUNT = Parameter(_whole, "a whole number of 1 or more")
_TEXT_PARAMETERS = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), _NUMBER),
    "max_tokens": _COUNT,
    "seed": Parameter(int, "a whole number"),
    "stop": Parameter(str, "a text", several=True),
}

PARAMETERS: dict[str, dict[str, Parameter]] = {
    EMBEDDINGS: {
        "dimensions": _COUNT,
        "encoding_format": Parameter(_encoding, f"{BASE64} or {FLOAT}"),
    },
    CHAT: {**_TEXT_PARAMETERS, "max_completion_tokens": _COUNT, "reasoning_effort": Parameter(str, "a text")},
    COMPLETIONS: _TEXT_PARAMETERS,
    RERANK: {},
}
"""The parameters of each task, by name."""

RESERVED = frozenset((
    "model", "input", "messages", "prompt", "n", "stream", "stream_options", "response_format",
    "query", "documents", "top_n", "return_documents",
))  # fmt: skip
"""Fields of a request that ``parameters`` must not have, because the client writes them or reads the answer by them."""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenAiAddress:
    """A model on a server and what is asked of it, parsed from a URI.

    Attributes:
        secure: Whether the URI asks for TLS.
        target: ``HOST[:PORT]``, an IPv6 address in brackets.
        path: The segments of the API's path.
        model: The model's name, as requests name it.
        task: One of ``TASKS``.
        parameters: Fields of the request beside its input.
        system: With ``CHAT``: the system message of every request, which is not part of the URI.
        answer_schema: With ``CHAT``: the JSON Schema of the answers, likewise.
    """

    secure: bool
    target: str
    path: tuple[str, ...]
    model: str
    task: str
    parameters: Mapping[str, Any]
    system: str | None = None
    answer_schema: str | None = None

    @property
    def models_url(self) -> yarl.URL:
        """The URL of the list of models."""
        return self.url("models")

    def url(self, task_path: str) -> yarl.URL:
        """Returns the URL of a path of the API, such as ``embeddings``."""
        path = "/".join((*(quote(part, safe="@:") for part in self.path), task_path))
        return yarl.URL(f"{'https' if self.secure else 'http'}://{self.target}/{path}", encoded=True)

    def __str__(self) -> str:
        return f"model {self.model} at {self.target}"


def parse(uri: str) -> OpenAiAddress:
    """Parses an ``openai+http://`` or ``openai+https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, port = split(uri, FORM)
    path, model = _path_and_model(uri, parts)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    task = _task(uri, asked)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    target = host if port is None else f"{host}:{port}"
    return OpenAiAddress(parts.scheme == "openai+https", target, path, model, task, _parameters(uri, task, asked))


def _path_and_model(uri: str, parts: SplitResult) -> tuple[tuple[str, ...], str]:
    segments = [unquote(part) for part in parts.path.removeprefix("/").removesuffix("/").split("/")]
    if not all(segments):
        raise mistake(uri, "the path must end with the model's name", FORM)
    if segments[-1] in ("embeddings", "completions", "rerank") and len(segments) > 1:
        raise mistake(uri, f"leave out /{segments[-1]}: ?task= says what is asked", FORM)
    if _DEFAULT_PATH in segments:
        at = segments.index(_DEFAULT_PATH) + 1
        if at == len(segments):
            raise mistake(uri, f"the model's name is missing behind /{_DEFAULT_PATH}", FORM)
        return tuple(segments[:at]), "/".join(segments[at:])
    return tuple(segments[:-1]) or (_DEFAULT_PATH,), segments[-1]


def _task(uri: str, asked: list[tuple[str, str]]) -> str:
    tasks = [value for name, value in asked if name == "task"]
    if len(tasks) != 1 or tasks[0] not in TASKS:
        raise mistake(uri, f"say what is asked of the model, once: task={'|'.join(TASKS)}", FORM)
    return tasks[0]


def _parameters(uri: str, task: str, asked: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = PARAMETERS[task]
    for name, value in asked:
        several = name in known and known[name].several
        if not several and len([other for other, _ in asked if other == name]) > 1:
            raise mistake(uri, f"{name} takes one value", FORM)
        if name == "parameters":
            found = {**_more(uri, value, known), **found}
        elif name in known:
            try:
                read = known[name].read(value)
                found[name] = [*found.get(name, ()), read] if several else read
            except ValueError as error:
                raise mistake(uri, f"{name}={value}: must be {known[name].expected}", FORM) from error
        elif name not in _OURS:
            there = ", ".join(known)
            raise mistake(uri, f'task={task} has no parameter {name}; it has {there}, and parameters={{"{name}":…}}', FORM)
    return found


def _more(uri: str, text: str, known: Mapping[str, Parameter]) -> dict[str, Any]:
    try:
        document = loads(text.encode())
    except ValueError as error:
        raise mistake(uri, "parameters: is no JSON", FORM) from error
    if not isinstance(document, dict):
        raise mistake(uri, "parameters: must be a JSON object", FORM)
    for name in document:
        if name in RESERVED:
            raise mistake(uri, f"parameters: {name} is written by the client; leave it out", FORM)
        if name in known:
            raise mistake(uri, f"parameters: give {name} by itself, as {name}=…", FORM)
    return document
