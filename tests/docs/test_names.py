"""The files that docstrings name are there: a module that moves takes its name along."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPS = ("bench", "docs/tools", "examples", "pipeline", "tests", "transforms")
FILES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
NAMES = {path.name for path in (*FILES, *DOCUMENTS, ROOT / "setup.py")}

OF_OTHERS = frozenset({"cloudpickle_pickler.py", "sitecustomize.py", "transforms.py"})
"""Files of other packages, and of users."""


def docstrings(source: str) -> list[tuple[int, str]]:
    """The texts that stand alone as a statement, with their lines: of modules, classes, functions and constants."""
    alone = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    return [(it.lineno, it.value) for it in alone if isinstance(it, ast.Constant) and isinstance(it.value, str)]


def absent(text: str) -> list[str]:
    """The files in double backticks that are not there."""
    named = re.findall(r"``(?:[\w./-]*/)?([\w-]+\.(?:py|md))``", text)
    return [name for name in named if name not in NAMES | OF_OTHERS]


def test_a_name_that_is_not_there_is_found() -> None:
    assert absent("see ``dispatch.py``, ``docs/tools/moved.py``") == ["moved.py"]


def test_files_that_docstrings_name_are_there() -> None:
    """Only files that name one anywhere are parsed: there are a thousand."""
    found = []
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        texts = docstrings(source) if absent(source) else []
        found += [f"{path.relative_to(ROOT)}:{line}: {name}" for line, text in texts for name in absent(text)]
    assert found == []
