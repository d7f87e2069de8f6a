"""``python -m pipeline.check``: whether model, topics and flags fit. See ``checking/command.py``."""

from __future__ import annotations

from pipeline.console import command, leave

if __name__ == "__main__":
    leave(command("check"))
