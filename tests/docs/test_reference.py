"""What the pages have from the code is what the code says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.tools import self_contained
from docs.tools.reference import PART, PARTS, modules, renewed
from pipeline.cli.reference import reference
from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.lag import Lag
from pipeline.runners.remote import summarize
from tests.docs.pages import PAGES, ROOT
from transforms.types import Tokens

WITH_PARTS = [page for page in PAGES if PART.search((ROOT / page).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_PARTS)
def test_the_generated_parts_are_current(page: str) -> None:
    """Else: make reference."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text == renewed(text)


def test_every_part_stands_in_one_page() -> None:
    names = [match["name"] for page in WITH_PARTS for match in PART.finditer((ROOT / page).read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))
    assert set(PARTS) <= set(names)


def test_a_part_that_is_stale_is_made_anew() -> None:
    stale = "before\n<!-- generated: flags -->\nstale\n<!-- end -->\nafter"
    assert renewed(stale) == f"before\n<!-- generated: flags -->\n{reference()}<!-- end -->\nafter"


def test_the_tree_of_the_architecture_names_every_folder_of_the_code() -> None:
    """Folders of protocols and runners are named by themselves, deeper ones are their own matter."""
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for top in ("pipeline", "transforms"):
        for init in (ROOT / top).rglob("__init__.py"):
            folder = init.parent
            if len(folder.relative_to(ROOT).parts) <= 3 and "testing" not in folder.parts[:-1]:
                assert re.search(rf"(^|[ /]){folder.name}/", tree, re.MULTILINE), folder


TREE_OF = [Path("pipeline"), Path("transforms"), *(Path("transforms", name) for name in ("clients", "predict", "kafka"))]
TREE_OF += [Path("transforms", "kafka", "native")]
"""The folders of which the tree names every module and folder. For the others there is ``docs/reference/modules.md``."""


def tree_of_the_architecture() -> dict[Path, set[str]]:
    """Folder to what the tree names in it. A line begins with names; those with ``/`` at the end are folders."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named: dict[Path, set[str]] = {}
    folders: list[Path] = []
    for line in page.partition("```text\n")[2].partition("```")[0].splitlines():
        if match := re.match(r"( *)([^\s,]+(?:, [^\s,]+)*)", line):
            depth, names = len(match[1]) // 2, match[2].split(", ")
            above = folders[depth - 1] if depth else Path()
            named.setdefault(above, set()).update(names)
            folders[depth:] = [above / names[0]]
    return named


@pytest.mark.parametrize("folder", TREE_OF, ids=str)
def test_the_tree_of_the_architecture_names_every_module_and_no_other(folder: Path) -> None:
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    packages = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    assert tree_of_the_architecture()[folder] == modules | packages


def test_every_module_is_in_the_list() -> None:
    listed = modules()
    for top in ("pipeline", "transforms"):
        for path in (ROOT / top).rglob("*.py"):
            section = listed.partition(f"## {path.parent.relative_to(ROOT).as_posix()}\n")[2].partition("\n## ")[0]
            assert section
            assert path.stem == "__init__" or re.search(rf"^\| `{path.stem}` \| \S.+ \|$", section, re.MULTILINE), path


def test_files_that_pages_name_are_there() -> None:
    """Paths in backticks that begin with a folder of the repository; ``…`` and placeholders are nobody's path."""
    named = re.compile(r"`((?:pipeline|transforms|tests|bench|examples|deploy|docs)/[\w./-]+?)(?:::\w+)?`")
    for page in PAGES:
        if page != "CHANGELOG.md":  # it tells of files as they were
            for path in named.findall((ROOT / page).read_text(encoding="utf-8")):
                assert (ROOT / path).exists(), f"{page} names {path}"


def test_the_keys_of_the_summary_are_in_the_reference() -> None:
    """In their order; and those of a job on Flink, which has fewer."""
    section = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8").partition("## The summary")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    worker = WorkerStats()
    worker.counted_tokens(Tokens(1, 1))
    summary = Totals(worker.rows).summary() | {"lag": Lag({}).summary()}
    assert [key for key, _ in rows] == list(summary)
    for key, meaning in rows:
        if isinstance(summary[key], dict):
            assert set(re.findall(r"`(\w+)`", meaning)) == summary[key].keys()
    assert re.findall(r"`(\w+)`", section.rpartition("On Flink")[2]) == list(summarize(0, 0))


def test_a_page_that_loads_something_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="https://a.b/"></a><link rel="canonical" href="https://a.b/">')
    assert self_contained.main(tmp_path) == 0
    (tmp_path / "index.html").write_text('<script src="https://a.b/c.js"></script><img src="//a.b/d.png">')
    (tmp_path / "style.css").write_text("@import 'https://a.b/e.css'; p {background: url(data:x)}")
    assert self_contained.outside(tmp_path) == [
        "index.html loads https://a.b/c.js",
        "index.html loads //a.b/d.png",
        "style.css loads https://a.b/e.css",
    ]
    assert self_contained.main(tmp_path) == 1
