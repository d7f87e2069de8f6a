"""Templates of requests: what they make of rows, and what is no template."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.json_bodies.template import EXAMPLE, THE_ROW, Template
from transforms.formats.casting import FieldMismatch
from transforms.formats.field_paths import NotFoundError

ROWS = [{"a": 1, "b": {"c": [5, 6]}, "n": "3.5"}, {"a": 2, "b": {"c": [7, 8]}, "n": "4"}]


@pytest.mark.parametrize(
    ("template", "document"),
    [
        ({"$rows": "$row"}, ROWS),
        ({"instances": {"$rows": "$row"}, "k": [1, None, True]}, {"instances": ROWS, "k": [1, None, True]}),
        ({"x": {"$rows": "$row.a"}, "y": {"$rows": "$row.b.c[1]"}}, {"x": [1, 2], "y": [6, 8]}),
        ([{"$rows": ["$row.a", "$row.n|number", "const"]}], [[[1, 3.5, "const"], [2, 4, "const"]]]),
        (
            {"$rows": {"q": "$row['a']", "$$row": "$$row", "d": "$row.no|default(0)"}},
            [
                {"q": 1, "$row": "$row", "d": 0},
                {"q": 2, "$row": "$row", "d": 0},
            ],
        ),
    ],
)
def test_many_rows(template: Any, document: Any) -> None:
    parsed = Template(json.dumps(template))
    assert parsed.takes_rows
    assert parsed.fill(ROWS) == document


@pytest.mark.parametrize(
    ("template", "document"),
    [
        ("$row", ROWS[0]),
        ({"input": "$row", "again": ["$row.a"]}, {"input": ROWS[0], "again": [1]}),
    ],
)
def test_one_row(template: Any, document: Any) -> None:
    parsed = Template(json.dumps(template))
    assert not parsed.takes_rows
    assert parsed.fill(ROWS[:1]) == document


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{", "is no JSON; give a template such as"),
        ({"a": 1}, "has no place for the record"),
        ({"a": "$$row"}, "has no place for the record"),
        ({"$rows": 1}, "has no place for the record"),
        ({"a": "$rwo"}, "$rwo: no such place; use $row"),
        ({"a": "$rows"}, "$rows: no such place"),
        ({"a": "$row.b["}, "$row.b[: "),
        ({"a": "$row|nonsense"}, "$row|nonsense: "),
        ({"$row": 1}, "$row: no such name; use $rows"),
        ({"$rows": "$row", "b": 1}, "$rows: must be the only name of its object"),
        ({"$rows": {"$rows": "$row"}}, "$rows: stands inside of another $rows"),
        ({"a": "$row", "b": {"$rows": "$row"}}, "$row stands outside of $rows"),
        ({"b": {"$rows": "$row"}, "a": "$row.x"}, "$row stands outside of $rows"),
        ("[" * 200 + '"$row"' + "]" * 200, "is nested deeper than 100 levels"),
    ],
)
def test_what_is_no_template_names_the_place(template: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Template(template if isinstance(template, str) and template[0] in "{[" else json.dumps(template))
    assert str(caught.value).startswith(problem)


def test_a_row_without_the_value() -> None:
    with pytest.raises(NotFoundError, match=r"\$\.b\.d: nothing at \$\.b\.d"):
        Template('{"$rows": "$row.b.d"}').fill(ROWS)
    with pytest.raises(FieldMismatch, match="number: an object"):
        Template('{"$rows": "$row.b|number"}').fill(ROWS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text().filter(lambda text: not text.startswith("$")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda name: not name.startswith("$")), inner),
    max_leaves=20,
)


@given(JSON, st.lists(JSON))
def test_everything_else_is_sent_as_it_is(constant: Any, rows: list[Any]) -> None:
    assert Template(json.dumps([constant, {"$rows": "$row"}])).fill(rows) == [constant, rows]


def test_the_texts_of_the_messages_are_templates() -> None:
    assert Template(EXAMPLE).takes_rows
    assert not Template(THE_ROW).takes_rows
