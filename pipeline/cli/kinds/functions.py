"""The kind of a function of the user's: ``MODULE:FUNCTION``."""

from __future__ import annotations

from pipeline.cli.kinds.base import One
from transforms.own_code import PATTERN, load


def function() -> One[str]:
    """A function's name; the function is there, and can be called with one dict."""

    def check(name: str, value: str) -> str:
        load(f"--{name}", value)
        return value

    return One(check=check, metavar="MODULE:FUNCTION", pattern=PATTERN)
