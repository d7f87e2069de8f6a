"""Checks that a built site loads nothing from elsewhere: ``python docs/tools/self_contained.py build/site``.

Links that a reader may follow are fine. Scripts, styles, fonts and images from another host are not: pages must work in a
network without internet access. Needs only Python, so that it runs in the environment that builds the site.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
HARMLESS_RELATIONS = {"canonical", "next", "prev", "alternate"}
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)")


class Assets(HTMLParser):
    """Collects what a page loads from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Looks at one element."""
        values = dict(attrs)
        target = values.get(LOADED.get(tag, "")) or ""
        if tag == "link" and HARMLESS_RELATIONS & set((values.get("rel") or "").split()):
            return
        if re.match(r"(https?:)?//", target):
            self.outside.append(target)


def outside(site: Path) -> list[str]:
    """What the pages and styles of a built site load from other hosts."""
    found = []
    for page in sorted(site.rglob("*.html")):
        assets = Assets()
        assets.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(site)} loads {target}" for target in assets.outside]
    for style in sorted(site.rglob("*.css")):
        text = style.read_text(encoding="utf-8")
        found += [f"{style.relative_to(site)} loads {target}" for target in IN_STYLES.findall(text)]
    return found


def main(site: Path) -> int:
    """Prints what is loaded from elsewhere; returns the exit status."""
    if not (site / "index.html").exists():
        print(f"{site} holds no built site", file=sys.stderr)
        return 2
    found = outside(site)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
