"""What is installed has all files that the code reads, not the Python ones alone."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def package_data() -> dict[str, list[str]]:
    """``package_data`` of ``setup.py``, without running it."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "package_data":
            found: dict[str, list[str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no package_data")


def test_every_file_that_is_no_code_is_installed() -> None:
    data = package_data()
    installed = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    there = {
        path
        for top in ("pipeline", "transforms")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != ".gitignore"
    }
    assert there - installed == set()
