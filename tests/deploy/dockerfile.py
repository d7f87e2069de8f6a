"""Reads a Dockerfile as far as ours needs it: the instructions of each stage, continuation lines joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns stage name to its ``(instruction, arguments)``, ``FROM`` left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            current = found.setdefault(arguments.rpartition(" AS ")[2], [])
        elif instruction:
            current.append((instruction, arguments.strip()))
    return found


def expanded(text: str, arguments: Mapping[str, str]) -> str:
    """Replaces ``${NAME}``."""
    return re.sub(r"\$\{(\w+)\}", lambda match: arguments[match.group(1)], text)
