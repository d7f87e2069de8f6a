"""Translates errors of multi-model-server and TorchServe into the errors of this project.

The servers' front ends answer ``{"code", "type", "message"}``. A model's handler may also answer with an error status, and a
body of any form. That body may repeat the content of the request, so messages use its usual text fields or the status line
only.
"""

from __future__ import annotations

import re
from typing import Any

from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.status_codes import clean, from_http_status
from transforms.errors import ModelError, ModelFailedError

# service.py and WorkerThread.java of both servers: the handler raised an exception, its output can't be used, or its process
# ended. The status is 503, 500 or 507, as if the server was down. The row of this request may be innocent: the server makes
# batches of requests, and if one makes the handler raise, all of them get this answer.
_HANDLER_FAILED = re.compile(
    r"Prediction failed|Invalid model predict output|number of batch response mismatched"
    r"|Unsupported model output data type|Out of resources|Worker died"
)
_TEXT_FIELDS = ("message", "error", "detail", "reason")


def from_answer(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 200.

    Args:
        where: The model and its address, for the message.
        answer: The server's answer.
    """
    kind, text = error_text(answer)
    if kind == "InternalServerException" and _HANDLER_FAILED.match(text):
        failed = ModelFailedError(f"{where}: HTTP {answer.status}: {(said := clean(text))}", answer.retry_after_s)
        failed.said = said
        return failed
    return from_http_status(where, answer.status, text, answer.retry_after_s)


def error_text(answer: HttpResponse) -> tuple[str, str]:
    """Returns the name of the server's exception (empty if the answer names none) and the error text."""
    try:
        document: Any = loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "", answer.reason
    texts = [document[name] for name in _TEXT_FIELDS if isinstance(document.get(name), str)]
    return str(document.get("type", "")), texts[0] if texts else answer.reason
