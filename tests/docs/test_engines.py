"""The tests that ``docs/engines.md`` names as its proof are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = tuple((ROOT / "tests").rglob("test_*.py"))


def absent(text: str) -> list[str]:
    """The tests in backticks, a file alone or with the name of one of its tests, that are not there."""
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", text)
    assert named
    return [f"{file}::{test}" for file, test in named if not is_there(file, test)]


def is_there(file: str, test: str) -> bool:
    """Whether a file of that name has that test, if one is named."""
    texts = [path.read_text(encoding="utf-8") for path in FILES if path.name == file]
    return any(f"def {test}(" in text for text in texts) if test else bool(texts)


def test_one_that_is_not_there_is_found() -> None:
    assert absent("`test_engines.py`, `test_engines.py::test_gone`") == ["test_engines.py::test_gone"]


def test_what_the_page_names_is_there() -> None:
    assert absent((ROOT / "docs" / "engines.md").read_text(encoding="utf-8")) == []
