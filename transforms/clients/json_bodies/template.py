"""``--request``: a JSON document with places for the rows of a request.

| place | stands for |
|---|---|
| ``{"$rows": TEMPLATE}`` | a list with ``TEMPLATE`` for each row: many records share a request |
| ``"$row"`` | the row: the record as it is or, with ``--signature``, an object of the inputs by name |
| ``"$row.amount"``, ``"$row.lines[0]|number"`` | a value in the row; paths and words are those of ``--features`` |

A template without ``$rows`` is a request of one record. A string or a name that begins with ``$$`` stands for the same with
one ``$`` less. Everything else is sent as it is. Without a template the record itself is the request: ``"$row"``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from transforms.formats.field_paths import PathError
from transforms.formats.sources import parse_source

ROWS, ROW = "$rows", "$row"
THE_ROW = f'"{ROW}"'
"""The template that is used without one."""

EXAMPLE = '{"instances": {"$rows": "$row"}}'
"""A template, for messages."""

_MAX_DEPTH = 100
_Filled = Callable[[Any], Any]


class Template:
    """A parsed template.

    Attributes:
        takes_rows: Whether many rows share a request.

    Args:
        text: The template.

    Raises:
        ValueError: It is no template; the message names the place.
    """

    def __init__(self, text: str):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is no JSON; give a template such as {EXAMPLE}") from error
        self._places = 0
        self.takes_rows = False
        self._fill = self._compiled(document, outside=True, depth=0)
        if not self._places:
            raise ValueError(f"has no place for the record: give a template such as {EXAMPLE}")

    def fill(self, rows: Sequence[Any]) -> Any:
        """Returns the document of a request.

        Args:
            rows: The JSON value of each row; one, unless ``takes_rows``.

        Raises:
            NotFoundError: A row has no value at a path; the message names the path.
            FieldMismatch: A word can't be applied to a row's value.
        """
        return self._fill(rows if self.takes_rows else rows[0])

    def _compiled(self, node: Any, outside: bool, depth: int) -> _Filled:
        """Returns what fills a node of the document.

        Args:
            node: The node.
            outside: Whether it is outside of ``$rows``: it is then filled with all rows, if there is a ``$rows``.
            depth: How deep it is.
        """
        if depth > _MAX_DEPTH:
            raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")
        if isinstance(node, str) and node.startswith("$"):
            return self._place(node, outside)
        if isinstance(node, list):
            items = [self._compiled(item, outside, depth + 1) for item in node]
            return lambda row: [fill(row) for fill in items]
        if isinstance(node, dict):
            if ROWS in node:
                return self._each(node, outside, depth)
            fields = {_name(name): self._compiled(value, outside, depth + 1) for name, value in node.items()}
            return lambda row: {name: fill(row) for name, fill in fields.items()}
        return lambda _: node

    def _each(self, node: dict[str, Any], outside: bool, depth: int) -> _Filled:
        if not outside:
            raise ValueError(f"{ROWS}: stands inside of another {ROWS}")
        if len(node) != 1:
            raise ValueError(f"{ROWS}: must be the only name of its object: {{{json.dumps(ROWS)}: TEMPLATE}}")
        if self._places and not self.takes_rows:
            raise _outside()
        self.takes_rows = True
        fill = self._compiled(node[ROWS], outside=False, depth=depth + 1)
        return list if node[ROWS] == ROW else lambda rows: [fill(row) for row in rows]

    def _place(self, text: str, outside: bool) -> _Filled:
        if text.startswith("$$"):
            return lambda _: text[1:]
        rest = text.removeprefix(ROW)
        if rest == text or (rest and rest[0] not in ".[|"):
            raise ValueError(f"{text}: no such place; use {ROW}, {ROW}.name or {ROWS}, and $$ for a $")
        if outside and self.takes_rows:
            raise _outside()
        self._places += 1
        if not rest:
            return lambda row: row
        try:
            return parse_source(f"${rest}").find
        except PathError as error:
            raise ValueError(f"{text}: {error}") from error


def _name(name: str) -> str:
    if name.startswith("$$"):
        return name[1:]
    if name.startswith("$"):
        raise ValueError(f"{name}: no such name; use {ROWS}, and $$ for a $")
    return name


def _outside() -> ValueError:
    return ValueError(f"{ROW} stands outside of {ROWS}, where there is no one row: put it inside, or leave {ROWS} out")
