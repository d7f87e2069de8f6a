"""``MessagePattern``: the regular expression of ``--message``, looked for in bounded time.

Python's ``re`` may try ways to match for ever, with no way to stop it: see ``transforms/formats/bounded_patterns.py``.
"""

from __future__ import annotations

import re
from typing import Any

from transforms.errors import ConfigError
from transforms.formats.bounded_patterns import MATCH_S, BoundedPatterns, PatternTimeoutError

_REPEATS = re.compile(r"[*+{]")


class MessagePattern:
    """A regular expression of Python.

    Args:
        flag: The flag, for errors.
        text: The expression.

    Raises:
        ConfigError: It is none; or it repeats something, and the package that bounds its time is not installed.
    """

    def __init__(self, flag: str, text: str):
        self._flag, self._text, self._bounded = flag, text, BoundedPatterns()
        try:
            compiled = re.compile(text)
        except re.error as error:
            raise ConfigError([f"--{flag}={text}: is no regular expression: {error}"]) from None
        try:
            self._pattern: Any = self._bounded.of(compiled)
        except ImportError as error:
            if _REPEATS.search(text):
                mistake = f"--{flag}={text}: *, + and {{}} need the package regex, which bounds the time that they take"
                raise ConfigError([f"{mistake}; install it by: pip install regex"]) from error
            self._pattern = compiled
        except Exception as error:  # regex.error: what ``re`` takes and ``regex`` does not
            raise ConfigError([f"--{flag}={text}: is not taken by the package regex: {error}"]) from error

    def is_in(self, message: str) -> bool:
        """Whether it is found in a message.

        Raises:
            ConfigError: It takes too long.
        """
        self._bounded.begin()
        try:
            return self._pattern.search(message) is not None
        except PatternTimeoutError:
            raise ConfigError(
                [
                    f"--{self._flag}={self._text}: takes more than {MATCH_S:g} s for one message, because it may match in "
                    "too many ways; give a simpler one, without choices such as (a|aa) in a repetition"
                ]
            ) from None
