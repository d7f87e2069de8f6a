"""``docs/tensorflow_serving.md`` names a test for every fact, and the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "tensorflow_serving.md").read_text()
FACTS = 20


def test_every_fact_has_a_row_and_every_row_a_test_of_ours() -> None:
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, FACTS + 1))
    for number, *_, ours in rows:
        assert "::test_" in ours, f"fact {number} has no test of a client"


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`([\w/]+\.py::test_\w+)`", TABLE))))
def test_the_test_exists(test: str) -> None:
    path, name = test.split("::")
    assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
