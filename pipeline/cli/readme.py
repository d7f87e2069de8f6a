"""The README's table of flags, from the flags themselves: ``python -m pipeline.cli.readme``; a test compares the two."""

from __future__ import annotations

from pipeline.cli.flags import FLAGS, Flag

HEAD = "| flag | default | meaning |\n|---|---|---|\n"


def table() -> str:
    """The table, in Markdown."""
    return HEAD + "".join(
        f"| `--{flag.name}`{_values(flag)} | {_default(flag)} | {_escape(flag.help)} |\n" for flag in FLAGS
    )


def _values(flag: Flag) -> str:
    if flag.choices:
        return " " + ", ".join(f"`{choice}`" for choice in flag.choices)
    return {"natural": " N", "number": " X", "count": " N", "switch": ""}.get(flag.kind, "")


def _default(flag: Flag) -> str:
    return "" if flag.default is None else f"`{flag.default}`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(table(), end="")
