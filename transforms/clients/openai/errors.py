"""Translates errors of OpenAI-compatible servers into the errors of this project.

No server says in a field how many inputs it takes; the text does (``RULES``), in other words with each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.clients.openai.waits import asked_wait_s
from transforms.clients.wire.error_texts import error_text
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.status_codes import from_http_status, text_rule
from transforms.errors import BatchTooLargeError, ModelError, ModelFailedError, NotServedError, RequestTooLargeError

OTHER_PATH = "is its API at another path?"

_TOO_MANY_INPUTS = "|".join(
    (
        r"array too long\b.*?maximum length (?P<openai>\d+)",  # OpenAI
        r"> maximum allowed batch size (?P<tei>\d+)",  # text-embeddings-inference
        r"batch size[^.]{0,40}\bnot be (?:larger|greater) than (?P<dashscope>\d+)",
        r"at most (?P<gemini>\d+) (?:requests|inputs|texts|documents)\b",  # Google; with other words others
        r"number of (?:inputs|texts|documents) must be (?:at most|less than or equal to) (?P<cohere>\d+)",
        r"too many inputs\b(?:.{0,80}? is (?P<azure>\d+))?",  # Azure's older deployments; Mistral says no number
    )
)
"""How servers say that a request has more inputs than they take."""

RULES = (
    text_rule("400 413 422", rf"(?is){_TOO_MANY_INPUTS}", BatchTooLargeError),
    # OpenAI: all inputs of a request together, "Requested 400000 tokens, max 300000 tokens per request".
    text_rule("400 413", r"(?i)max(?:imum)? \d+ tokens per request", RequestTooLargeError),
    # The words of web frameworks for a path that they do not have; a model that is not there has its name in the text.
    text_rule("404 405", r"(?i)^(?:404:? )?(?:page )?(?:not found|method not allowed)?$", NotServedError, cure=OTHER_PATH),
    # text-embeddings-inference: the front end works, its model failed on this request.
    text_rule("424", r".", ModelFailedError),
)


def from_answer(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 200.

    Args:
        where: The model and its address, for the message.
        answer: The server's answer.
    """
    return from_http_status(where, answer.status, error_text(answer.body) or answer.reason, asked_wait_s(answer), RULES)


def of_document(where: str, body: bytes, document: Mapping[str, Any]) -> ModelError | None:
    """Returns the error that an answer with status 200 has in its body, as of some gateways; ``None`` if it has none."""
    error = document.get("error")
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return from_http_status(where, status, error_text(body), None, RULES)
