"""Paths into documents: what is one, what it finds, and lists of names with paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.field_paths import FieldPath, NotFoundError, PathError, parse_named_paths

DOCUMENT = {"a": {"b": [10, {"c d": None}], "it's": 1, "x,y=z": 2}, "é": 3}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.a.b[0]", 10),
        ("$.a.b[1]['c d']", None),
        ("$['a'].b[1][\"c d\"]", None),
        (r"$.a['it\'s']", 1),
        ("$.a['x,y=z']", 2),
        ("$.é", 3),
    ],
)
def test_a_path_finds_one_value(path: str, value: Any) -> None:
    assert FieldPath.parse(path).find(DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("$.b", "$.b"),
        ("$.a.b[2]", "$.a.b[2]"),
        ("$.a.b[0].c", "$.a.b[0].c"),
        ("$.a[0].c", "$.a[0]"),
        ("$.a.b.c.d", "$.a.b.c"),
        ("$.é[0]", "$.é[0]"),
    ],
)
def test_what_is_not_there_is_told(path: str, at: str) -> None:
    with pytest.raises(NotFoundError, match=r"nothing at") as caught:
        FieldPath.parse(path).find(DOCUMENT)
    assert str(caught.value) == f"{path}: nothing at {at}"


@pytest.mark.parametrize(
    "path", ["", "a", "$a", "$.", "$..a", "$.a.", "$[", "$[]", "$[a]", "$[-1]", "$.*", "$[*]", "$['a", "$.a b"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(PathError, match=r"a path is \$\.name"):
        FieldPath.parse(path)


@given(st.lists(st.text(min_size=1), max_size=4))
def test_any_name_can_be_quoted(names: list[str]) -> None:
    document: Any = 7
    for name in reversed(names):
        document = {name: document}
    path = "$" + "".join("['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']" for name in names)
    if "\n" not in path:
        assert FieldPath.parse(path).find(document) == 7


def test_lists_of_names() -> None:
    assert parse_named_paths(["x=$.a.b, y=$['p,q'][0]", "z=$"]) == (("x", "$.a.b"), ("y", "$['p,q'][0]"), ("z", "$"))
    assert parse_named_paths(["a,it's,b=$.meta.id"], bare_names=True)[0] == ("a", "$['a']")
    assert parse_named_paths([]) == ()


@pytest.mark.parametrize("text", ["", "x", "x=", "=$.a", "x=a", "x=$.a,x=$.b", "x=$.a,,y=$.b", "x=$['a"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(PathError):
        parse_named_paths([text])


def test_a_bare_name_is_for_what_is_passed_through_only() -> None:
    assert parse_named_paths(["a.b"], bare_names=True) == (("a.b", "$['a.b']"),)
    with pytest.raises(PathError, match="give NAME=PATH"):
        parse_named_paths(["a"])
    with pytest.raises(PathError):
        parse_named_paths(["$.a"], bare_names=True)
