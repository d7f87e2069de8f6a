"""Headers and dead-letter classes: each has one home, and the documents list all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from transforms import reference
from transforms.dead_letter_classes import DeadLetterClass
from transforms.headers import DEAD_LETTER, HEADERS, ON_PREDICTIONS, PREDICTION, REPLAYED
from transforms.types import STAGE_DECODE, STAGE_ENCODE, STAGE_PREDICT, STAGE_WRITE, Failure

ROOT = Path(__file__).parent.parent
HOMES = {"headers.py", "dead_letter_classes.py"}


@pytest.mark.parametrize("name", reference.TABLES)
def test_the_documents_have_the_table(name: str) -> None:
    """The one that ``python -m transforms.reference`` prints."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(reference.TABLES[name]() in page.read_text(encoding="utf-8") for page in pages), reference.TABLES[name]()


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main([]) == 0
    assert capsys.readouterr().out == f"{reference.headers_table()}\n{reference.dead_letter_table()}"
    assert reference.main(["headers"]) == 0
    assert capsys.readouterr().out == reference.headers_table()
    assert reference.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m transforms.reference [headers|dead_letters")
    assert reference.main(["flags"]) == 2
    assert "unknown table flags" in capsys.readouterr().err


def strings(path: Path) -> set[str]:
    """Every string in the code of a file, docstrings and comments left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_no_other_module_spells_a_header_or_a_class() -> None:
    """So that a rename, or a search for who uses one, has one place to begin with."""
    names = {row.name for row in HEADERS} | {kind.error_class for kind in DeadLetterClass}
    spelled = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("transforms", "pipeline")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in HOMES
        for name in sorted(strings(path) & names)
    ]
    assert spelled == []


def test_names_are_unique_and_described_in_a_sentence() -> None:
    assert len({row.name for row in HEADERS}) == len(HEADERS)
    assert len({kind.error_class for kind in DeadLetterClass}) == len(DeadLetterClass)
    for description in [row.description for row in HEADERS] + [kind.description for kind in DeadLetterClass]:
        assert re.fullmatch(r"[A-Z`].*\.", description), description
        assert "|" not in description


def test_every_class_is_of_a_stage_and_makes_failures_of_it() -> None:
    for kind in DeadLetterClass:
        assert {kind.stage} <= set(kind.stages) <= {STAGE_DECODE, STAGE_PREDICT, STAGE_ENCODE, STAGE_WRITE}
    assert DeadLetterClass.REJECTED.failure("why", 3) == Failure("predict", "Rejected", "why", 3)
    assert DeadLetterClass.INTERNAL_ERROR.failure("why", 2, "encode") == Failure("encode", "InternalError", "why", 2)
    assert DeadLetterClass.TOMBSTONE.failure("why") == Failure("decode", "Tombstone", "why", 0)


def test_every_header_is_on_something() -> None:
    assert all(row.on and set(row.on) <= {PREDICTION, DEAD_LETTER, REPLAYED} for row in HEADERS)
    assert {"inference.model", "inference.source"} < ON_PREDICTIONS
    assert "inference.error.class" not in ON_PREDICTIONS  # a chained pipeline keeps why a record was a dead letter before
