"""The screens in the documents stand where ``docs.tools.screens`` puts them, and fit their terminals."""

from __future__ import annotations

import re

import pytest

from docs.tools.screens import PAGE, SIZES, renewed

SHOWN = dict(
    re.findall(r"<!-- screen: (\w+) -->\n\n```text\n(.*?)\n```\n\n<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
EXPECTED = {
    "start": ["waiting for 2 of 2 workers to start"],
    "demo": ["Tombstone", "right", "p: to go by partition"],
    "kafka": ["to go by partition: digits/", "requests in flight; model version 1"],
    "partitions": ["to go by partition, the most first", "p: without the partitions"],
}


def test_each_has_its_place() -> None:
    assert list(SHOWN) == list(SIZES) == list(EXPECTED)


@pytest.mark.parametrize("name", SIZES)
def test_a_screen_fits_its_terminal_and_shows_what_the_page_is_about(name: str) -> None:
    columns, lines = SIZES[name]
    screen = SHOWN[name].splitlines()
    assert max(map(len, screen)) <= columns
    assert len(screen) <= lines
    for expected in EXPECTED[name]:
        assert expected in SHOWN[name]


def test_a_new_screen_takes_the_old_ones_place() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page, SHOWN) == page
    changed = renewed(page, SHOWN | {"demo": r"a \1 new one"})
    assert changed == page.replace(SHOWN["demo"], r"a \1 new one")
