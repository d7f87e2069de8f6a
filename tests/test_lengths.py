"""One idea a file: no module is longer than a reader takes in at once."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("transforms", "pipeline", "tests", "docs", "bench", "examples")
MOST_LINES = 400
"""As CONTRIBUTING says. A longer file has a second idea, which is a module of its own."""


def test_no_module_is_too_long() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 1000
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
