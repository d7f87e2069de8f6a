"""Paths to the rows' answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.clients.json_bodies.answers import Answers, parse_response
from transforms.errors import MalformedAnswerError
from transforms.formats.field_paths import PathError

ROWS = {"p": [{"s": "0.5", "l": "a"}, {"s": "1", "l": "b"}], "classes": ["no", "yes", "?"], "k": 7}


def read(document: Any, rows: int, *texts: str, takes_rows: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    per_row, whole = Answers(parse_response(texts), takes_rows).outputs(document, rows)
    plain = {name: values.item() if isinstance(values, np.ndarray) else values for name, values in whole.items()}
    return dict(per_row), plain


@pytest.mark.parametrize(
    ("texts", "per_row", "whole"),
    [
        (["$.p[*]"], {"l": ["a", "b"], "s": ["0.5", "1"]}, {}),
        (["$.p[*].l"], {"predictions": ["a", "b"]}, {}),
        (["score=$.p[*].s|number,label=$['p'][*].l"], {"score": [0.5, 1], "label": ["a", "b"]}, {}),
        (["score=$.p[*].s|number", "of=$.classes,k=$.k"], {"score": [0.5, 1]}, {"of": ["no", "yes", "?"], "k": 7}),
        (["$.classes"], {}, {"predictions": ["no", "yes", "?"]}),
        (["$.k"], {}, {"predictions": 7}),
        ([], {}, {"classes": ["no", "yes", "?"], "k": 7, "p": ROWS["p"]}),
    ],
)
def test_many_rows(texts: list[str], per_row: Any, whole: Any) -> None:
    assert read(ROWS, 2, *texts) == (per_row, whole)


def test_many_rows_that_are_the_whole_answer() -> None:
    assert read(ROWS["p"], 2) == ({}, {"l": ["a", "b"], "s": ["0.5", "1"]})
    assert read([[1], [2]], 2, "$[*]") == ({"predictions": [[1], [2]]}, {})


@pytest.mark.parametrize(
    ("document", "texts", "outputs"),
    [
        ({"score": 1, "label": "a"}, [], {"label": ["a"], "score": [1]}),
        (0.5, [], {"predictions": [0.5]}),
        ([1, 2], [], {"predictions": [[1, 2]]}),
        ({"b64": "AA=="}, [], {"predictions": [{"b64": "AA=="}]}),
        ({"r": {"s": [1, 2]}}, ["s=$.r.s"], {"s": [[1, 2]]}),
        ({"r": [{"s": 1}]}, ["$.r[*]"], {"s": [1]}),
    ],
)
def test_one_row(document: Any, texts: list[str], outputs: Any) -> None:
    assert read(document, 1, *texts, takes_rows=False) == (outputs, {})


@pytest.mark.parametrize(
    ("document", "texts", "problem"),
    [
        ({"p": [1]}, ["$.p[*]"], "the answer's $.p has 1 row for a request of 2"),
        ({"p": {"secret": 1}}, ["$.p[*]"], "the answer's $.p is an object, not a list of 2"),
        ({"q": "secret"}, ["$.p[*]"], "the answer does not fit --response: $.p: nothing at $.p"),
        ({"p": [{"a": 1}, {}]}, ["$.p[*].a"], "the answer does not fit --response: $.a: nothing at $.a"),
        (
            {"p": ["secret", 1]},
            ["$.p[*]|number"],
            "the answer does not fit --response=$|number: number: a string is",
        ),
        ({}, [], "the answer has no outputs"),
        ([], ["$"], None),
    ],
)
def test_an_answer_that_does_not_fit_is_malformed(document: Any, texts: list[str], problem: str | None) -> None:
    if problem is None:
        assert read(document, 2, *texts) == ({}, {"predictions": []})  # for the matcher to refuse
        return
    with pytest.raises(MalformedAnswerError) as caught:
        read(document, 2, *texts)
    assert str(caught.value).startswith(problem)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["p"], "p: give a path such as $.predictions[*]"),
        (["a=p"], "a=p: give a path"),
        (["a=$.p,a=$.q"], "a=$.q: is given twice"),
        (["$.p,a=$.q"], "a=$.q: is given twice, or has no name beside others"),
        (["$.p[*].q[*]"], "$.q[*]: not understood"),
        (["$.p[*]|nonsense"], "$|nonsense: "),
        ([""], "empty: "),
    ],
)
def test_what_is_no_path_is_named(texts: list[str], problem: str) -> None:
    with pytest.raises(PathError) as caught:
        parse_response(texts)
    assert str(caught.value).startswith(problem)
