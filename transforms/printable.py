"""``printable``: text of records and servers as people may read it: it steers no terminal and forges no line of a log."""

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
    """The same, with line breaks as escapes, too."""
    return printable(text).replace("\n", "\\n")


class PrintableFormatter(logging.Formatter):
    """Formats log records as ``logging.Formatter`` does, with what is not printable as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """As ``logging.Formatter.format``."""
        return printable(super().format(record))
