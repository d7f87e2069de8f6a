"""Commands as a shell takes them when they are pasted: nothing in them is a pipe, a pattern or a variable."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_BARE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}


def shell_word(text: str) -> str:
    r"""Returns one word for a shell: as it is, in quotes, or as ``$'…\n…'`` where a terminal would not show it."""
    if _BARE.fullmatch(text):
        return text
    return shlex.quote(text) if text.isprintable() else f"$'{''.join(map(_escaped, text))}'"


def shell_command(words: Iterable[str]) -> str:
    """Returns the words of a command on one line."""
    return " ".join(map(shell_word, words))


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
