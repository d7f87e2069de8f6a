"""``BoundedPatterns``: the patterns of a compiled schema, matched in bounded time.

Python's ``re`` tries every way in which a text may match, and can't be interrupted: for ``^(a+)+$`` each letter of
``aaaa…!`` doubles the time. Such patterns are not always easy to recognise. Therefore the package ``regex`` matches all of
them: it takes the same patterns, and stops after a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import thread_time
from typing import Any

MATCH_S = 0.25
"""Seconds of the processor that all patterns may take for one document."""

_BRACE = re.compile(r"(\\N\{[^}]*\}|\\.)|\{(?!\d+(?:,\d*)?\}|,\d*\})", re.DOTALL)
"""What is escaped, and a brace that begins no quantifier: ``regex`` takes ``{e}`` for "with errors", ``re`` for itself."""


class PatternTimeoutError(Exception):
    """The patterns took too long. The text is that of the last one."""


class BoundedPatterns:
    """The time that patterns may take for one document.

    Args:
        clock: Returns the seconds that the processor has spent on this thread.
    """

    def __init__(self, clock: Callable[[], float] = thread_time) -> None:
        self._clock, self._left_s = clock, 0.0

    def begin(self) -> None:
        """Begins with another document."""
        self._left_s = MATCH_S

    def of(self, pattern: re.Pattern[str]) -> _Bounded:
        """Returns the pattern, with the methods that a schema's check calls.

        Raises:
            ImportError: The package ``regex`` is not installed.
            Exception: It does not take the pattern.
        """
        import regex

        literal = _BRACE.sub(lambda found: found[1] or r"\{", pattern.pattern)
        return _Bounded(regex.compile(literal, regex.VERSION0), self._in_time)

    def _in_time(self, match: Callable[..., Any], pattern: str, text: str) -> Any:
        began = self._clock()
        try:
            if self._left_s <= 0:
                raise TimeoutError
            return match(text, timeout=self._left_s)
        except TimeoutError:
            raise PatternTimeoutError(pattern) from None  # its trace has the text
        finally:
            self._left_s -= self._clock() - began


class _Bounded:
    def __init__(self, compiled: Any, in_time: Callable[[Callable[..., Any], str, str], Any]):
        self._compiled, self._in_time = compiled, in_time

    def search(self, text: str) -> Any:
        return self._in_time(self._compiled.search, self._compiled.pattern, text)

    def match(self, text: str) -> Any:
        return self._in_time(self._compiled.match, self._compiled.pattern, text)
