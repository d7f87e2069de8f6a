"""Paths into JSON-like documents: ``$.a.b``, ``$.list[0]``, ``$['any name']``; a subset of JSONPath (RFC 9535).

A path finds one value or none. Wildcards, filters and slices, which may find many, are not part of it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

_STEP = re.compile(r"""\.([^.\[\]'"$*\s,=]+)|\[(\d{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_PIECE = re.compile(r"""((?:[^,\[]|\[[^\]'"]*\]|\['(?:[^'\\]|\\.)*'\]|\["(?:[^"\\]|\\.)*"\])+)(?:,|$)""")

HOW = "a path is $.name, $.list[0] or $['any name'], or several such steps: $.a.list[0]"


class PathError(ValueError):
    """A path can't be read, or several; each argument is a message that says where."""

    def __str__(self) -> str:
        """All messages in one."""
        return "; ".join(map(str, self.args))


class NotFoundError(LookupError):
    """A document has no value at a path. The message says up to where the path exists."""


@dataclasses.dataclass(frozen=True, slots=True)
class FieldPath:
    """A parsed path to one value of a document.

    Attributes:
        text: The path as it was written.
        steps: The path's steps: names of fields, and indexes into lists.
    """

    text: str
    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> FieldPath:
        """Reads a path.

        Raises:
            PathError: ``text`` is not a path.
        """
        if not text.startswith("$"):
            raise PathError(f"{text}: must begin with $; {HOW}")
        steps: list[str | int] = []
        position = 1
        while position < len(text):
            found = _STEP.match(text, position)
            if not found:
                raise PathError(f"{text}: not understood at character {position + 1}; {HOW}")
            name, index, *quoted = found.groups()
            if index is not None:
                steps.append(int(index))
            else:
                raw = next(part for part in (name, *quoted) if part is not None)
                steps.append(raw if name is not None else re.sub(r"\\(.)", r"\1", raw))
            position = found.end()
        return cls(text, tuple(steps))

    def find(self, document: Any) -> Any:
        """Returns the value in ``document``, which may be null.

        Raises:
            NotFoundError: The document has no value at this path.
        """
        value: Any = document
        for done, step in enumerate(self.steps):
            try:
                if not (type(value) is dict if isinstance(step, str) else type(value) is list):
                    raise KeyError
                value = value[step]
            except (KeyError, IndexError):
                raise NotFoundError(f"{self.text}: nothing at {self._until(done + 1)}") from None
        return value

    def _until(self, count: int) -> str:
        return "$" + "".join(f"[{step}]" if type(step) is int else f".{step}" for step in self.steps[:count])


def parse_named_paths(texts: Iterable[str], *, bare_names: bool = False) -> tuple[tuple[str, str], ...]:
    """Reads lists of ``NAME=PATH``, with commas between.

    Args:
        texts: The lists.
        bare_names: Whether ``NAME`` alone means ``NAME=$.NAME``.

    Raises:
        PathError: A list can't be read, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        position = 0
        while position < len(text) or not text:
            piece = _PIECE.match(text, position)
            if not piece:
                raise PathError(f"{text or 'empty'}: not understood at character {position + 1}; give NAME=PATH,…")
            name, equals, path = (part.strip() for part in piece.group(1).partition("="))
            if not equals and bare_names and name and not name.startswith("$"):
                path = f"$['{name.translate(_QUOTED)}']"
            elif not equals or not name:
                raise PathError(f"{piece.group(1)}: give NAME=PATH; {HOW}")
            FieldPath.parse(path)
            if name in found:
                raise PathError(f"{name}: is given twice")
            found[name] = path
            position = piece.end()
    return tuple(found.items())


_QUOTED = str.maketrans({"'": "\\'", "\\": "\\\\"})
