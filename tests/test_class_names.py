"""A word has one meaning: no two classes that other modules may use have one name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent

SAME_THING = {
    "ReadFromKafka": "one transform, by our own implementation or by Beam's Java pair (--kafka_io)",
    "WriteToKafka": "likewise",
    "ChunkDecoder": "the protocol that stages of the library are given, and the class that is meant",
}
"""Names that stand for one thing in two modules, and why."""


def test_no_two_classes_have_one_name() -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for package in ("transforms", "pipeline"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(path.relative_to(ROOT).as_posix())
    several = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert len(found) > 300
    assert several.keys() == SAME_THING.keys(), several
