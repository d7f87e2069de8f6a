"""What a command is called in help and messages: as the user has started this process."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = "kafka-model-scoring"
"""The console script of an installed package."""


def program(command: str = "") -> str:
    """Returns the command as one types it.

    Args:
        command: Its name, such as ``check``; none for the one that scores records.

    Returns:
        ``kafka-model-scoring check`` if this process is the console script, else ``python -m pipeline.check``.
    """
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {command}".rstrip()
    return f"python -m pipeline.{command}".rstrip(".")
