"""``python -m pipeline.replay``: replays dead letters, each once. See ``dead_letter_tools/replay.py``."""

from __future__ import annotations

import sys

from pipeline.console import command

if __name__ == "__main__":
    sys.exit(command("replay"))
