"""Failures of multi-model-server and TorchServe to this project's errors.

Their front ends answer ``{"code", "type", "message"}``. What a model's handler answers with a status of its own is the
handler's, in any form: it may repeat the example, so of that only the usual fields and the status line are told on.
"""

from __future__ import annotations

import re
from typing import Any

from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.status_codes import clean, from_http_status
from transforms.errors import ModelError, ModelFailedError

# service.py and WorkerThread.java of both: the handler raised, answered what can't be used, or its process ended. The status
# is 503, 500 or 507, as if nobody was there. It need not be this example's fault: the server puts several requests together,
# and all of them get this answer when one makes the handler raise.
_HANDLER_FAILED = re.compile(
    r"Prediction failed|Invalid model predict output|number of batch response mismatched"
    r"|Unsupported model output data type|Out of resources|Worker died"
)
_TEXT_FIELDS = ("message", "error", "detail", "reason")


def from_answer(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 200.

    Args:
        where: The model and its address, for the message.
        answer: What the server answered.
    """
    kind, text = error_text(answer)
    if kind == "InternalServerException" and _HANDLER_FAILED.match(text):
        return ModelFailedError(f"{where}: HTTP {answer.status}: {clean(text)}", answer.retry_after_s)
    return from_http_status(where, answer.status, text, answer.retry_after_s)


def error_text(answer: HttpResponse) -> tuple[str, str]:
    """Returns the name of the server's exception, empty if the front end gave none, and the error's text."""
    try:
        document: Any = loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "", answer.reason
    texts = [document[name] for name in _TEXT_FIELDS if isinstance(document.get(name), str)]
    return str(document.get("type", "")), texts[0] if texts else answer.reason
