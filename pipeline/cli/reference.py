"""The reference of the flags (``docs/reference/flags.md``), in Markdown, made of the flags: ``make reference`` writes it.

``reference`` has a heading and a table for each section, and says where a flag does not fit. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.config import FLAGS
from pipeline.cli.flag import Flag
from pipeline.cli.kinds.base import Switch

HEAD = "| flag | default | meaning |\n|---|---|---|\n"


def table(flags: Sequence[Flag] = FLAGS) -> str:
    """Returns one table of all flags."""
    return HEAD + "".join(f"| `--{flag.name}`{_values(flag)} | {_default(flag)} | {_text(flag.text)} |\n" for flag in flags)


def reference(flags: Sequence[Flag] = FLAGS, level: int = 2) -> str:
    """Returns a table for each section, under headings of this level, with where a flag does not fit and why."""
    parts = []
    for section in dict.fromkeys(flag.section for flag in flags):
        rows = [flag for flag in flags if flag.section == section]
        refusals = "".join(_refusals(flag) for flag in rows)
        parts.append(f"{'#' * level} {section}\n\n{table(rows)}" + (f"\n{refusals}" if refusals else ""))
    return "\n".join(parts)


def _values(flag: Flag) -> str:
    kind = flag.kind
    if kind.choices:
        return " " + ", ".join(f"`{choice}`" for choice in kind.choices)
    return "" if isinstance(kind, Switch) else f" `{_escape(kind.metavar)}`"


def _default(flag: Flag) -> str:
    return "" if flag.default is None else f"`{flag.default}`"


def _refusals(flag: Flag) -> str:
    return "".join(
        f"- `--{flag.name}{'' if refusal.value is None else f'={refusal.value}'}` is refused {refusal.where.value}: "
        f"{refusal.why.format(runner='the runner')}\n"
        for refusal in flag.refused
    )


def _text(text: str) -> str:
    """Words between angle brackets would be taken for HTML."""
    return _escape(text).replace("<", "&lt;")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
