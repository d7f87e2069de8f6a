"""What is said where a package is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def said_without(package: str, module: str, made: str) -> str:
    """Returns the ``ConfigError`` that is raised where a package can't be imported, in a process of its own.

    Args:
        package: The package.
        module: The module of ours that needs it.
        made: The expression that needs it, with names of the module.
    """
    script = f"""
import sys
sys.modules[{package!r}] = None
from transforms.errors import ConfigError
from {module} import *
try:
    {made}
except ConfigError as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True).stdout
