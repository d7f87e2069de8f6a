"""``python -m pipeline.dead_letters``: what is in the dead-letter topic. See ``dead_letter_tools/show.py``."""

from __future__ import annotations

import sys

from pipeline.console import command

if __name__ == "__main__":
    sys.exit(command("dead_letters"))
