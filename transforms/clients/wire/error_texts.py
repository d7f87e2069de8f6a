"""Error texts of servers in Python, for a message: found in the body, without tracebacks and without contents of records."""

from __future__ import annotations

import json
import re
from typing import Any

from transforms.clients.wire.status_codes import clean

# Python's exceptions quote the value that a model could not take. That is content of a record: no message may repeat it.
_QUOTED = re.compile(
    r"(could not convert string to (?:float|int|complex)|invalid literal for \w+\(\) with base \d+|not supported between).*",
    re.DOTALL,
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)
_EXCEPTION = re.compile(r"^ *([A-Za-z_][\w.]*(?:Error|Exception))\b", re.MULTILINE)


def readable(text: str) -> str:
    """Returns a server's error text as one line without record contents; a traceback is cut to the exception's name."""
    matched = _TRACEBACK.search(text)
    if matched:
        named = _EXCEPTION.findall(matched[0])
        text = f"{text[: matched.start()]}{named[-1] if named else 'an exception'} (its message is in the server's log)"
    return clean(_QUOTED.sub(r"\1 (left out)", text))


def error_text(body: bytes) -> str:
    """Returns the error text of a response body.

    The usual form is ``{"error": …}``. FastAPI's form is ``{"detail": …}``: a text, or a list of validation errors, of
    which the place and the message are kept and the *input* is left out. A body that is not JSON is returned as text.

    Args:
        body: The body; at most 1,000 bytes of it are returned.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body[:1000].decode("utf-8", "replace")
    if not isinstance(document, dict):
        return str(document) if isinstance(document, str) else ""
    for key in ("error", "detail", "message"):
        if document.get(key):
            return _told(document[key])
    return ""


def _told(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(filter(None, map(_told, value)))
    if isinstance(value, dict):
        place = value.get("loc")
        said = str(value.get("msg") or value.get("message") or "")
        return f"{'.'.join(map(str, place))}: {said}" if isinstance(place, list) and said else said
    return str(value)
