"""The documents of the repository, and the blocks of code in them."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README, TUTORIAL = "README.md", "docs/tutorial/index.md"
FURTHER_TUTORIALS = tuple(f"docs/tutorial/{name}.md" for name in ("images", "scikit-learn", "beam-pipeline"))
TOP = (README, "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = sorted([*(name for name in TOP), *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))])
COMMANDS = ("console", "bash", "sh", "shell")

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`]*)$")
_MARK = re.compile(r"<!-- (?P<kind>not run|run by|runs on, until): (?P<text>.+?) -->")


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: The document, from the repository's root.
        line: The number of its first line.
        language: The word behind the fence.
        title: The file that the page says to save it as; empty for none.
        kind: ``not run``, ``run by``, ``runs on, until``, or empty: to be run.
        mark: What the mark says: a reason, a test, a text of the output.
        text: The block itself.
    """

    page: str
    line: int
    language: str
    title: str
    kind: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """The commands, each with the lines that continue it."""
        lines: list[str] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                lines.append(line[2:])
            elif lines and lines[-1].endswith("\\"):
                lines[-1] += f"\n{line}"
        return lines

    def output(self) -> list[str]:
        """The lines that the page says are printed; ``…`` stands for others."""
        kept = []
        continued = False
        for line in self.text.splitlines():
            if not line.startswith("$ ") and not continued and line.strip() not in ("", "…"):
                kept.append(line)
            continued = (line.startswith("$ ") or continued) and line.endswith("\\")
        return kept


def blocks(page: str) -> list[Block]:
    """All blocks of code of a document."""
    found: list[Block] = []
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    number, mark = 0, None
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            mark = _MARK.fullmatch(lines[number].strip()) or (mark if not lines[number].strip() else None)
            number += 1
            continue
        indent, fence = len(opening["indent"]), opening["fence"]
        start = number + 1
        number = next(i for i in range(start, len(lines)) if lines[i].strip() == fence)
        words = shlex.split(opening["info"])
        title = next((word.removeprefix("title=") for word in words if word.startswith("title=")), "")
        text = "\n".join(line[indent:] for line in lines[start:number])
        found.append(
            Block(
                page,
                start,
                words[0] if words else "",
                title,
                mark["kind"] if mark else "",
                mark["text"] if mark else "",
                text,
            )
        )
        number, mark = number + 1, None
    return found


def command_blocks(page: str) -> list[Block]:
    """The blocks of a document that hold commands."""
    return [block for block in blocks(page) if block.language in COMMANDS]
