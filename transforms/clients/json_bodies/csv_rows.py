"""CSV bodies, as SageMaker's algorithms take them: a line a row, no line of names; and answers in CSV.

What a line holds is a list: the record itself, or what the template of ``--request`` makes of it,
such as ``["$row.age", "$row.income"]``. An object has no order that a model could rely on, so it is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

from transforms.errors import MalformedAnswerError
from transforms.printable import counted

CSV = "csv"
"""The value of the URI's ``body``."""

CSV_TYPE = "text/csv"

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)


def csv_body(rows: Iterable[Any]) -> bytes:
    """Returns the lines of a request.

    Args:
        rows: For each line its values: a list of numbers, texts, booleans and nulls (written as nothing), or the only one.

    Raises:
        TypeError: A row has another form.
        ValueError: A row has no values.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        if isinstance(row, dict):
            raise TypeError(
                'an object has no order of columns: name them, such as --request=\'["$row.a", "$row.b"]\' in a file'
            )
        values = row if isinstance(row, list) else [row]
        if not values:
            raise ValueError("a line of CSV has one value at least")
        writer.writerow([_written(value) for value in values])
    return text.getvalue().encode()


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError("a line of CSV holds numbers and texts, no lists and objects")


def csv_answers(body: bytes, rows: int) -> list[Any]:
    """Returns the answer of each row: one value, or the list of its line.

    Some algorithms (XGBoost) answer several rows on one line, a value each. Values that are numbers are returned as such.

    Args:
        body: The body of the answer.
        rows: How many rows the request had.

    Raises:
        MalformedAnswerError: It can't be read, or has not one answer for each row.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode()), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedAnswerError(f"the answer is no CSV ({counted(len(body), 'byte')})") from error
    if len(lines) == 1 < rows and len(lines[0]) == rows:
        lines = [[value] for value in lines[0]]
    if len(lines) != rows:
        raise MalformedAnswerError(f"the answer has {counted(len(lines), 'line')} for a request of {counted(rows, 'row')}")
    if len({len(line) for line in lines}) > 1:
        raise MalformedAnswerError("the answer's lines are of different lengths")
    read = [[_read(value) for value in line] for line in lines]
    return [line[0] if len(line) == 1 else line for line in read]


def _read(text: str) -> Any:
    stripped = text.strip()
    if _WHOLE.fullmatch(stripped):
        return int(stripped)
    return float(stripped) if _NUMBER.fullmatch(stripped) else text
