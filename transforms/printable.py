"""``printable``: escapes control and invisible characters of records' and servers' text, for terminals, logs and headers."""

from __future__ import annotations

import logging
from collections.abc import Iterable

MOST_SAID = 500
"""Most characters of what a server says of itself, in the headers of each prediction."""


def printable(text: str) -> str:
    r"""Returns the text with control and other invisible characters as escapes, such as ``\x1b``. Line breaks stay."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(text: str) -> str:
    """Returns the text as ``printable`` does, with line breaks escaped, too."""
    return printable(text).replace("\n", "\\n")


def shortened(text: str, most: int = 100) -> str:
    """Returns the text on one line, as ``one_line`` does, and cut to ``most`` characters."""
    shown = one_line(text[:most])
    return shown[:most] + "…" if len(text) > most or len(shown) > most else shown


def listed(names: Iterable[str], most: int = 10) -> str:
    """Returns the first names with commas between them, each shortened, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(shortened, every[:most])) + more


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Returns a number with what is counted, such as ``1 record`` and ``1,200 records``.

    Args:
        count: How many.
        noun: One of them.
        nouns: Several of them; ``noun`` with an s unless given.
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


class PrintableFormatter(logging.Formatter):
    """A ``logging.Formatter`` whose lines have control and invisible characters as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """As ``logging.Formatter.format``."""
        return printable(super().format(record))
