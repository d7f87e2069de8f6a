"""How long an OpenAI-compatible server asks to wait: ``Retry-After``, ``retry-after-ms``, ``x-ratelimit-reset-…``.

OpenAI and its gateways say in the headers of each answer how much is left of a minute's requests and tokens
(``x-ratelimit-remaining-requests: 0``) and when it is whole again (``x-ratelimit-reset-requests: 6m0s``). An answer with
status 429 has ``Retry-After`` too, mostly; where it has not, what is used up says how long to wait.
Source: https://platform.openai.com/docs/guides/rate-limits
"""

from __future__ import annotations

import re

from transforms.clients.wire.http import HttpResponse

_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_LIMITED = ("requests", "tokens")
_MOST_CHARACTERS = 40


def asked_wait_s(answer: HttpResponse) -> float | None:
    """Returns the wait that an answer asks for in seconds; ``None`` if it asks for none."""
    in_ms = answer.headers.get("retry-after-ms", "").strip()
    if re.fullmatch(r"\d{1,12}(?:\.\d{1,12})?", in_ms):
        return float(in_ms) / 1000  # finer than Retry-After, which servers round up to seconds
    if answer.retry_after_s is not None:
        return answer.retry_after_s
    return used_up_for_s(answer) if answer.status == 429 else None


def used_up_for_s(answer: HttpResponse) -> float | None:
    """Returns for how many seconds the server takes no more requests, by its rate limits; ``None`` if it does."""
    waits = [
        duration_s(answer.headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in _LIMITED
        if answer.headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def duration_s(text: str) -> float | None:
    """Reads a duration such as ``6m0s`` or ``20ms``, or a number of seconds; ``None`` if it is none."""
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
