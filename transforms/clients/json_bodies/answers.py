"""``--response``: paths to the rows' answers in the answer of a request.

``$.predictions[*]`` is a list with one entry a row; behind ``[*]`` the path goes on in each. Without it the value is that of
the only row or, where a request has many, of the whole answer: a list may then be one value a row, which answers of other
sizes prove (``wire/outputs.py``). ``NAME=PATH,…`` names several outputs. Paths and words are those of ``--features``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from transforms.clients.wire.json_outputs import PREDICTIONS, columns_of
from transforms.clients.wire.outputs import Outputs
from transforms.errors import MalformedAnswerError
from transforms.formats.casting import FieldMismatch
from transforms.formats.field_paths import FieldPath, NotFoundError, PathError
from transforms.formats.sources import parse_source, split_outside
from transforms.json_kinds import json_kind
from transforms.printable import counted

EACH = "[*]"
HOW = "give a path such as $.predictions[*], or NAME=PATH,…"


def parse_response(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Reads the values of ``--response``: one path, or ``NAME=PATH,…``.

    Returns:
        Names of outputs and paths, with the content of files in them. A path alone has an empty name.

    Raises:
        PathError: They can't be read, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        for piece in split_outside(text, ","):
            name, *path = (part.strip() for part in split_outside(piece, "=", 1))
            if not path:
                name, path = "", [name]
            if not path[0].startswith("$"):
                raise PathError(f"{piece.strip() or 'empty'}: {HOW}")
            if name in found or (found and "" in (name, *found)):
                raise PathError(f"{piece.strip()}: is given twice, or has no name beside others; {HOW}")
            found[name] = RowPath(path[0]).text
    return tuple(found.items())


class RowPath:
    """One path.

    Attributes:
        text: The path, with the content of files in it.

    Args:
        text: The path as it was written.

    Raises:
        PathError: It can't be read.
    """

    def __init__(self, text: str):
        before, each, after = text.partition(EACH)
        self._rows = FieldPath.parse(before) if each else None
        self._source = parse_source(f"${after}" if each else text)
        self.text = f"{before}{EACH}{self._source.text.removeprefix('$')}" if each else self._source.text

    @property
    def per_row(self) -> bool:
        """Whether it names a list of one entry a row."""
        return self._rows is not None

    def find(self, document: Any, rows: int) -> Any:
        """Returns the value of the whole answer, or with ``[*]`` the list of the rows' values.

        Raises:
            MalformedAnswerError: There is no such value, or not one for each row.
        """
        try:
            if self._rows is None:
                return self._source.find(document)
            found = self._rows.find(document)
            if type(found) is not list:
                raise MalformedAnswerError(f"the answer's {self._rows.text} is {json_kind(found)}, not a list of {rows}")
            if len(found) != rows:
                raise MalformedAnswerError(
                    f"the answer's {self._rows.text} has {counted(len(found), 'row')} for a request of {rows}"
                )
            return [self._source.find(row) for row in found]
        except NotFoundError as error:
            raise MalformedAnswerError(f"the answer does not fit --response: {error}") from None
        except FieldMismatch as error:
            raise MalformedAnswerError(f"the answer does not fit --response={self._source.shown}: {error}") from None


class Answers:
    """Reads answers.

    Args:
        paths: As ``parse_response`` gives them; none: the whole answer.
        takes_rows: Whether a request may have several rows.
    """

    def __init__(self, paths: Sequence[tuple[str, str]], takes_rows: bool):
        self._paths = [(name, RowPath(text)) for name, text in paths or (("", "$"),)]
        self._takes_rows = takes_rows

    def outputs(self, document: Any, rows: int) -> tuple[Outputs, Outputs]:
        """Returns the outputs of an answer by name: those with one value a row for sure, and those of the whole answer.

        An output without a name whose rows, or which itself, are objects of the same names is one output a name.

        Raises:
            MalformedAnswerError: The answer does not fit the paths.
        """
        per_row: Outputs = {}
        whole: Outputs = {}
        for name, path in self._paths:
            found = path.find(document, rows)
            if path.per_row or not self._takes_rows:
                values = found if path.per_row else [found]
                per_row.update({name: values} if name else columns_of(values, PREDICTIONS))
            elif isinstance(found, list) and not name:
                whole.update(columns_of(found, PREDICTIONS))
            elif name or not isinstance(found, dict):
                whole[name or PREDICTIONS] = _as_output(found)
            else:
                whole.update({key: _as_output(found[key]) for key in sorted(found)})
        if not per_row and not whole:
            raise MalformedAnswerError("the answer has no outputs")
        return per_row, whole


def _as_output(value: Any) -> Sequence[Any] | np.ndarray:
    """A list is perhaps one value a row; anything else is one value, which an array without a dimension is."""
    if isinstance(value, list):
        return value
    one = np.empty((), object)
    one[()] = value
    return one
