"""Translates errors of MLflow's scoring server and of Azure ML into the errors of this project.

MLflow answers ``{"error_code", "message", "stack_trace"}``. Its messages repeat the rows of the request: whole ones
("Failed to predict data '…'"), the body, and the value that did not fit. That is content of records, of the others of the
batch as well; no message may have it. Of an exception its name is kept.

Source: mlflow/pyfunc/scoring_server/__init__.py, mlflow/utils/proto_json_utils.py, mlflow/models/utils.py (MLflow 3.17).
"""

from __future__ import annotations

import re
from typing import Any

from transforms.clients.wire.error_texts import error_text, readable
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.status_codes import from_http_status, text_rule
from transforms.errors import ModelError, ModelFailedError, NotServedError

_AROUND_ROWS = re.compile(r"\A(Failed to predict data|Failed to enforce schema of data) '.*\bError: ", re.DOTALL)
"""The innermost error stands last, behind the rows and the words of each function that passed it on."""

_ROWS = (
    (re.compile(r"\A(Failed to enforce schema of (?:data )?)['`].*['`] (with (?:schema|type|dtype) )", re.DOTALL), r"\1\2"),
    (re.compile(r"(Failed to (?:convert|parse) [\w ]*data )`.*` (?=to type|with spec)", re.DOTALL), r"\1"),
    (re.compile(r"\s*Input: *\n.*", re.DOTALL), ""),
)
_INNER = re.compile(r"\bError: '?\"?([A-Za-z_]\w*(?:Error|Exception|Date|Timedelta|Datetime|Warning))\(.*", re.DOTALL)
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt))\b", re.MULTILINE)

AZURE_STATUS = "ms-azureml-model-error-statuscode"
"""The header in which Azure ML's gateway says the status of the model's container, behind its own 424."""

RULES = (
    # Azure ML's gateway: the container answered something else than 200.
    text_rule("424", r".", ModelFailedError),
    text_rule("404", r"(?i)^not found$", NotServedError, cure="is /invocations at another path?"),
)


def from_answer(where: str, answer: HttpResponse) -> ModelError:
    """Returns the error for an answer whose status is not 200.

    Args:
        where: The model and its address, for the message.
        answer: The server's answer.
    """
    status = answer.status
    inner = answer.headers.get(AZURE_STATUS, "")
    if status == 424 and inner.isascii() and inner.isdigit() and 400 <= int(inner[:9]) < 600:
        status = int(inner)
    return from_http_status(where, status, _text(answer) or answer.reason, answer.retry_after_s, RULES)


def _text(answer: HttpResponse) -> str:
    try:
        document: Any = loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("message"), str):
        return readable(error_text(answer.body))
    text = without_rows(document["message"])
    trace = document.get("stack_trace")
    if isinstance(trace, str) and (raised := _EXCEPTION.findall(trace)):
        text = f"{text} ({raised[-1][:100]})"
    return readable(text)


def without_rows(message: str) -> str:
    """Returns a message of MLflow's without what it repeats of the request."""
    found = _AROUND_ROWS.match(message)
    text = message[found.end() :] if found else message
    for pattern, replacement in _ROWS:
        text = pattern.sub(replacement, text)
    text = _INNER.sub(r"Error: \1", text)
    return f"{found[1]}: {text}" if found else text
