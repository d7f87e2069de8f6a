"""Every link between the documents, and from them into the repository, leads somewhere."""

from __future__ import annotations

import re

import pytest

from docs.tools.repository_links import ABSOLUTE, LINK, resolve
from tests.docs.pages import PAGES, ROOT

README_LINES = 150


def targets(page: str) -> list[str]:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [match["target"] for match in LINK.finditer(text)]


def anchors(page: str) -> set[str]:
    """The fragments of a document's headings, as MkDocs and the usual hosts make them."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings_that_are_there(page: str) -> None:
    for target in targets(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        assert not target.startswith("/"), f"{page}: {target} is a place of the machine, not of the repository"
        path, _, fragment = target.partition("#")
        goal = resolve(path, page) if path else page
        assert (ROOT / goal).exists(), f"{page} links to {target}"
        if fragment:
            assert fragment in anchors(goal), f"{page} links to {target}; {goal} has {sorted(anchors(goal))}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links alone: a page that only the site's menu names is not found where the repository is browsed."""
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        page = waiting.pop()
        for target in targets(page):
            goal = resolve(target.partition("#")[0], page) if not ABSOLUTE.match(target) else ""
            if goal in PAGES and goal not in reached:
                reached.add(goal)
                waiting.append(goal)
    assert sorted(set(PAGES) - reached) == []


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        if page.startswith("docs/"):
            assert re.search(rf"[ -]{re.escape(page.removeprefix('docs/'))}$", menu, re.MULTILINE), page


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_a_gap_left_to_fill(page: str) -> None:
    """No placeholder such as @THIS@ is left."""
    assert not re.search(r"@[A-Z]+@|\bTODO\b|\bTBD\b", (ROOT / page).read_text(encoding="utf-8"))


def test_the_readme_stays_short() -> None:
    """What a newcomer needs; the rest is in docs/."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES
