"""CSV: a line a row, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.clients.json_bodies.csv_rows import csv_answers, csv_body
from transforms.errors import MalformedAnswerError


def test_what_is_written() -> None:
    rows = [[1, 2.5, "a"], ['with "quotes", and\na line', None, True], 7]
    assert csv_body(rows) == b'1,2.5,a\n"with ""quotes"", and\na line",,true\n7\n'


@pytest.mark.parametrize(
    ("row", "said"),
    [({"a": 1}, "no order of columns"), ([[1]], "no lists and objects"), ([{}], "no lists and objects"), ([], "one value")],
)
def test_what_no_line_holds(row: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        csv_body([row])


@pytest.mark.parametrize(
    ("body", "rows", "values"),
    [
        (b"0.5\n1\n", 2, [0.5, 1]),
        (b"0.5,1e-3\r\n-1,+2.", 2, [[0.5, 0.001], [-1, 2.0]]),
        (b"0.5,0.25,0.125", 3, [0.5, 0.25, 0.125]),
        (b"0.5,0.25,0.125\n", 1, [[0.5, 0.25, 0.125]]),
        (b'setosa\n"a, b"\n', 2, ["setosa", "a, b"]),
        (b"1_000\n007\n", 2, ["1_000", 7.0]),
    ],
)
def test_what_is_read(body: bytes, rows: int, values: list[Any]) -> None:
    found = csv_answers(body, rows)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


@pytest.mark.parametrize(
    ("body", "rows", "said"),
    [
        (b"", 1, "0 lines for a request of 1"),
        (b"score\n1\n2\n", 2, "3 lines for a request of 2"),
        (b"1,2,3", 2, "1 line for a request of 2"),
        (b"1,2\n3\n", 2, "different lengths"),
        (b"\xff\n", 1, "no CSV"),
        (b'"open', 1, "no CSV"),
    ],
)
def test_what_does_not_fit(body: bytes, rows: int, said: str) -> None:
    with pytest.raises(MalformedAnswerError, match=said):
        csv_answers(body, rows)
