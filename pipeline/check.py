"""``python -m pipeline.check``: whether model, topics and flags fit. See ``checking/command.py``."""

from __future__ import annotations

import sys

from pipeline.console import command

if __name__ == "__main__":
    sys.exit(command("check"))
