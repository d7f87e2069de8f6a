"""Takes the pictures of the page that the docs show, of the demo as it runs: ``python -m tests.page_pictures``."""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image

from tests.browser import Browser
from tests.integration.process import Scoring

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
RECORDS = 15_000
WIDTH, HEIGHT = 1000, 1400
COLORS = 64
"""Enough for a page of few colours, and a third of the bytes."""


def main() -> None:
    """Runs the demo with two workers until enough is to be seen."""
    demo = Scoring(["--status=plain", "--status_port=0", "--workers=2"])
    try:
        demo.wait_for_output("the page is at http://127.0.0.1:")
        [url] = re.findall(r"the page is at (\S+)", demo.stdout)
        with Browser() as browser:
            page = browser.open(url, WIDTH, HEIGHT)
            page.wait_for(f"Number(document.title.split(' ')[0].replace(',', '')) > {RECORDS}")
            page.wait_for("document.querySelector('#phase').textContent.startsWith('Scoring 4')")
            page.wait_for("document.querySelectorAll('#predictions img').length > 12")
            page.ask("document.querySelector('#pause').click()")  # the same in both
            for scheme in ("light", "dark"):
                page.prefer(prefers_color_scheme=scheme)
                taken = FOLDER / f"page-{scheme}.png"
                page.screenshot(taken)
                small = Image.open(io.BytesIO(taken.read_bytes())).convert("RGB").quantize(COLORS)
                small.save(taken, optimize=True)
        demo.terminate()
        demo.done()
    finally:
        demo.close()


if __name__ == "__main__":
    main()
