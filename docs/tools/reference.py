"""The parts of the pages that are made from the code, and the flex template's metadata: ``make reference`` writes them.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. A test compares what is there with what the code
says.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.cli.config import FLAGS
from pipeline.cli.flag import flags_of
from pipeline.cli.reference import reference
from pipeline.dead_letter_tools.flags import ReplayConfig
from pipeline.process.stats import WorkerStats
from pipeline.reporting.collector import registry_of
from pipeline.runners.dataflow.flex_template import metadata
from pipeline.telemetry.gen_ai import GenAi
from tests.test_imports import LAYERS
from transforms import errors
from transforms.clients import registry
from transforms.reference import dead_letter_table, headers_table

PAGES = Path(__file__).resolve().parents[1]
FLEX_TEMPLATE = PAGES.parent / "deploy" / "dataflow" / "metadata.json"
PART = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w ]+) -->\n)(?P<text>.*?)(?P<end><!-- end -->)", re.DOTALL)


def flags() -> str:
    """Every flag, its default and its meaning, by section; and where it is refused."""
    return reference()


def replay_flags() -> str:
    """The flags that ``pipeline.replay`` has besides those of a job."""
    inherited = {row.name for row in FLAGS}
    return reference([row for row in flags_of(ReplayConfig) if row.name not in inherited], level=3)


def schemes() -> str:
    """Every scheme of a model URI, what it needs, and the module that implements it."""
    ours = {scheme: entry for scheme, entry in registry.schemes().items() if str(entry.client).startswith("transforms.")}
    rows = [f"| `{scheme}://` | `pip install '{entry.install}'` | `{entry.client}` |\n" for scheme, entry in ours.items()]
    return "| scheme | what it needs | module |\n|---|---|---|\n" + "".join(rows)


def metric_names() -> str:
    """Every metric, its kind and its help."""
    rows = [
        f"| `{metric.name}{'_total' if metric.type == 'counter' else ''}` | {metric.type} | {metric.documentation} |\n"
        for metric in registry_of(WorkerStats().rows, gen_ai=GenAi("", "", "")).collect()
    ]
    return "| metric | kind | meaning |\n|---|---|---|\n" + "".join(rows)


def error_tree() -> str:
    """The tree of exceptions, as the docstring of ``transforms.errors`` draws it."""
    tree = re.search(r"^ *ScoringError\n.+?\n(?=\n)", errors.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert tree is not None
    return f"```text\n{textwrap.dedent(tree[0])}```\n"


def layers() -> str:
    """The table of ``tests/test_imports.py``, from the top down."""
    return "```text\n" + "".join(f"{'  '.join(row)}\n" for row in reversed(LAYERS)) + "```\n"


def modules() -> str:
    """Every module of ``pipeline`` and ``transforms``, by folder, with the first line of its docstring."""
    root = PAGES.parent
    parts = []
    for init in sorted((*root.glob("pipeline/**/__init__.py"), *root.glob("transforms/**/__init__.py"))):
        beside = sorted(path for path in init.parent.glob("*.py") if path != init)
        rows = [f"| `{path.stem}` | {_first_line(path)} |\n" for path in beside]
        table = "".join(["\n| module | |\n|---|---|\n", *rows] if rows else [])
        parts.append(f"## {init.parent.relative_to(root).as_posix()}\n\n{_first_line(init)}\n{table}")
    return "\n" + "\n".join(parts) + "\n"


def _first_line(path: Path) -> str:
    """The first line of a module's docstring, as Markdown that may stand in a table."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("``", "`").replace("|", "\\|")


PARTS: Mapping[str, Callable[[], str]] = {
    "flags": flags,
    "replay flags": replay_flags,
    "schemes": schemes,
    "headers": headers_table,
    "dead letters": dead_letter_table,
    "metrics": metric_names,
    "errors": error_tree,
    "layers": layers,
    "modules": modules,
}


def renewed(page: str) -> str:
    """The text of a page with its generated parts made anew; parts that are still written by hand stay."""

    def replace(match: re.Match[str]) -> str:
        make = PARTS.get(match["name"], lambda: match["text"])
        return match["begin"] + make() + match["end"]

    return PART.sub(replace, page)


def main() -> None:
    """Writes the parts into the pages, and the flex template's metadata."""
    for path in sorted(PAGES.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        path.write_text(renewed(text), encoding="utf-8")
    template = json.dumps(metadata(), indent=2, ensure_ascii=False)
    FLEX_TEMPLATE.write_text(f"{template}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
