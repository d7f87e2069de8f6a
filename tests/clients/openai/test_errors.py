"""Error answers of OpenAI-compatible servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from transforms.clients.openai.errors import from_answer
from transforms.clients.openai.waits import asked_wait_s, duration_s, used_up_for_s
from transforms.clients.wire.http import HttpResponse
from transforms.errors import (
    BatchTooLargeError,
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
)

WHERE = "model m at h:1"


def answer(status: int, document: Any, headers: dict[str, str] | None = None, retry_after_s: float | None = None) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpResponse(status, body, retry_after_s, "the reason", "application/json", headers or {})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"error": {"message": "no such thing", "type": "invalid_request_error", "code": "x"}}, "no such thing"),  # OpenAI
        ({"object": "error", "message": "too long", "type": "BadRequestError"}, "too long"),  # vLLM, formerly
        ({"error": "batch too large", "error_type": "validation"}, "batch too large"),  # text-embeddings-inference
        ({"detail": "Not well"}, "Not well"),  # FastAPI
        ({"error": {"code": 7}}, "the reason"),
        ([1], "the reason"),
    ],
)
def test_the_text_of_each_kind_of_server(document: Any, text: str) -> None:
    assert str(from_answer(WHERE, answer(400, document))) == f"{WHERE}: HTTP 400: {text}"


def test_what_fastapi_repeats_of_the_request_is_left_out() -> None:
    """Its list of mistakes has the ``input`` of each."""
    detail = [
        {"loc": ["body", "input", 3], "msg": "Input should be a valid string", "input": "secret", "ctx": {"v": "secret"}}
    ]
    error = from_answer(WHERE, answer(422, {"detail": detail}))
    assert str(error) == f"{WHERE}: HTTP 422: body.input.3: Input should be a valid string"


@pytest.mark.parametrize(
    ("status", "text", "most"),
    [
        (400, "Invalid 'input': array too long. Expected an array with maximum length 2048, but got 3000 instead.", 2048),
        (400, "Too many inputs. The max number of inputs is 16.  We hope to increase the number", 16),
        (413, "batch size 64 > maximum allowed batch size 32", 32),
        (422, "batch size 64 > maximum allowed batch size 32", 32),
        (400, "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch", 100),
        (400, "Value error, batch size is invalid, it should not be larger than 10.: input.contents", 10),
        (400, "invalid request: total number of texts must be at most 96 for this model", 96),
        (400, "Too many inputs in request, split into more batches.", None),
    ],
)
def test_the_most_inputs_of_each_kind_of_server(status: int, text: str, most: int | None) -> None:
    error = from_answer(WHERE, answer(status, {"error": {"message": text}}))
    assert isinstance(error, BatchTooLargeError)
    assert error.most_rows == most


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "This model's maximum context length is 8192 tokens, however you requested 9000 tokens", RejectedError),
        (400, "Invalid 'input[0]': string too long. Expected a string with maximum length 1048576", RejectedError),
        (404, "The model `x` does not exist", NotServedError),
        (401, "Incorrect API key provided", NotServedError),
        (424, "Inference failed", ModelFailedError),
        (429, "Rate limit reached", OverloadedError),
    ],
)
def test_other_errors(status: int, text: str, kind: type[ModelError]) -> None:
    """A text that is too long by itself is no batch that is too large: it is found by bisection."""
    assert type(from_answer(WHERE, answer(status, {"error": {"message": text}}))) is kind


def test_the_most_tokens_of_a_request() -> None:
    text = "Requested 400000 tokens, max 300000 tokens per request"
    error = from_answer(WHERE, answer(400, {"error": {"message": text}}))
    assert isinstance(error, RequestTooLargeError)
    assert error.takes == 0.75


USED_UP = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}


@pytest.mark.parametrize(
    ("headers", "retry_after_s", "wait_s"),
    [
        ({}, None, None),
        ({}, 7.0, 7.0),
        ({"retry-after-ms": "250"}, 1.0, 0.25),
        ({"retry-after-ms": "soon"}, 1.0, 1.0),
        (USED_UP, None, 62.5),
        (USED_UP, 3.0, 3.0),
        ({**USED_UP, "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, None, 360.0),
        ({**USED_UP, "x-ratelimit-remaining-requests": "5"}, None, None),
        ({**USED_UP, "x-ratelimit-reset-requests": "tomorrow"}, None, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], retry_after_s: float | None, wait_s: float | None) -> None:
    asked = answer(429, {}, headers, retry_after_s)
    assert asked_wait_s(asked) == wait_s
    error = from_answer(WHERE, asked)
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s == wait_s


def test_what_is_used_up_is_no_wait_of_an_error_that_is_none_of_the_rate() -> None:
    assert asked_wait_s(answer(503, {}, USED_UP)) is None
    assert used_up_for_s(answer(200, {}, USED_UP)) == 62.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("1.5", 1.5), ("0", 0), ("", None), ("s", None), ("1" * 50, None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == (pytest.approx(seconds) if seconds is not None else None)
