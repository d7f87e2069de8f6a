"""``printable``: escapes control and invisible characters of records' and servers' text, for terminals, logs and headers."""

from __future__ import annotations

import logging


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


class PrintableFormatter(logging.Formatter):
    """A ``logging.Formatter`` whose lines have control and invisible characters as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """As ``logging.Formatter.format``."""
        return printable(super().format(record))
