"""``nearest``: suggests the known name that is closest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(name: str, names: Sequence[str]) -> str:
    """Returns ``; did you mean …?`` with the name closest to ``name``, or an empty string if none is close."""
    close = difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""
