"""``read_text``: a file of text that a user has written, wherever a flag or a field names one."""

from __future__ import annotations

import codecs
from pathlib import Path

_OTHERS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, with which it begins
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class NotTextError(ValueError):
    """A file is no UTF-8 text. The message says what it is or where, with the cure, and holds nothing of it."""


def read_text(path: str | Path) -> str:
    """Returns the text of a file in UTF-8. A byte order mark, which editors of Windows write, is no part of it.

    Raises:
        OSError: It can't be read.
        NotTextError: It is not UTF-8.
    """
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        encoding = next((name for mark, name in _OTHERS if content.startswith(mark)), None)
        if encoding is not None:
            raise NotTextError(f"is {encoding} text; save it as UTF-8") from None
        raise NotTextError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
