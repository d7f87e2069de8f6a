"""A MkDocs hook: links out of ``docs/`` into the repository lead to a page that shows the file.

Pages link to files as they stand in the repository (``../../deploy/Dockerfile``), so that the links work where the
repository is browsed, too. In the site, each linked file becomes a page under ``repository/``: Markdown as it is, other
files as a block of code, a folder as the list of what is in it. MkDocs checks the links afterwards; a file that does not
exist fails the build.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*(?:\n[^\]\n]*)?)\]\((?P<target>[^)\s]+)\)")
ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|#|/")
FOLDER = "repository"
LANGUAGES = {
    ".py": "python",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".xml": "xml",
}


def links(markdown: str) -> list[str]:
    """The targets of all links in a page that are relative to it, without their fragments."""
    found = (match["target"] for match in LINK.finditer(markdown))
    return [target.partition("#")[0] for target in found if not ABSOLUTE.match(target)]


def resolve(target: str, source: str) -> str:
    """The path from the repository's root that ``target`` means in the file ``source``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def page_of(path: str) -> str:
    """The page, from ``docs_dir``, that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".md"):
        return f"{FOLDER}/{path}"
    return f"{FOLDER}/{path}/index.md" if (ROOT / path).is_dir() else f"{FOLDER}/{path}.md"


def source_of(page: str) -> str:
    """The file of the repository that a page with links shows."""
    return page.removeprefix(f"{FOLDER}/") if page.startswith(f"{FOLDER}/") else f"docs/{page}"


def show(path: str) -> str:
    """The text of the page for a file or a folder of the repository."""
    full = ROOT / path
    if path.endswith(".md"):
        return full.read_text(encoding="utf-8")
    if full.is_dir():
        listed = subprocess.run(["git", "ls-files", path], cwd=ROOT, capture_output=True, text=True, check=True)
        return f"# `{path}/`\n\n```text\n{listed.stdout}```\n"
    fence = "`````"
    return f"# `{path}`\n\n{fence}{LANGUAGES.get(full.suffix, 'text')}\n{full.read_text(encoding='utf-8')}\n{fence}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for every file of the repository that a page links to."""
    from mkdocs.structure.files import File

    waiting = [(source_of(file.src_uri), file.content_string) for file in files.documentation_pages()]
    while waiting:
        source, markdown = waiting.pop()
        for target in links(markdown):
            path = resolve(target, source)
            page = page_of(path)
            outside = path.startswith("../") or path == ".."
            if path.startswith("docs/") or outside or not (ROOT / path).exists() or files.get_file_from_path(page):
                continue
            text = show(path)
            files.append(File.generated(config, page, content=text))
            if path.endswith(".md"):
                waiting.append((path, text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files into links to the pages that show them."""
    source = source_of(page.file.src_uri)

    def replace(match: re.Match[str]) -> str:
        target, hash_, fragment = match["target"].partition("#")
        if not target or ABSOLUTE.match(target):
            return match[0]
        path = resolve(target, source)
        if source.startswith("docs/") and path.startswith("docs/"):
            return match[0]
        goal = os.path.relpath(page_of(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"[{match['text']}]({goal}{hash_}{fragment})"

    return LINK.sub(replace, markdown)
