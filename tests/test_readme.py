"""What the README says stays true."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.cli.readme import table

README = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")


def test_readme_has_every_flag_with_its_default() -> None:
    """The table is the one that ``python -m pipeline.cli.readme`` prints."""
    assert table() in README


def test_readme_has_no_gap_left_to_fill() -> None:
    """No placeholder such as @THIS@ is left."""
    assert not re.search(r"@[A-Z]+@", README)
