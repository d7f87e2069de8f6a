"""``kafka-model-scoring [COMMAND] [--flag=value …]``: the console script of an installed package.

It works in any folder. ``python -m pipeline`` is for a checkout of this repository: it puts the current folder first on
Python's path, so that in a folder with somebody else's ``transforms.py`` that file would be imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from typing import NoReturn

from pipeline.process.garbage import rest_while_loading

COMMANDS = {
    "check": "pipeline.checking.command",
    "dataflow_job": "pipeline.dataflow_job",
    "dead_letters": "pipeline.dead_letter_tools.show",
    "embedded": "pipeline.embedded.__main__",
    "replay": "pipeline.dead_letter_tools.replay",
}
"""Command to the module with its ``main``. Without a command, records are scored."""

SCORE = "pipeline.score"

NEEDED = ("rich", "yaml", "prometheus_client")
"""What the program imports besides the library: the extra ``cli``."""


def main() -> int:
    """Runs the command line of ``sys.argv``; returns the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        del sys.argv[1]
    elif name and not name.startswith("-"):
        known = ", ".join(COMMANDS)
        print(f"error: {name}: no such command; there are {known}, and flags alone to score records", file=sys.stderr)
        return 2
    else:
        name = ""
    return command(name)


def command(name: str = "") -> int:
    """Runs one command with the flags of ``sys.argv``, if the program's packages are here; returns the exit status."""
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        cure = "pip install 'kafka-model-scoring[cli]'"
        print(f"error: the program needs packages that are not here ({', '.join(missing)}): {cure}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(COMMANDS.get(name, SCORE)).main()
    return status


def run() -> NoReturn:
    """Runs the command line, then ends the process at once, without waiting for threads of libraries."""
    rest_while_loading()
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:  # the other commands end on signals by themselves
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)  # until the job runs; then these signals drain it
    try:
        status = main()
    except SystemExit as ended:  # --help, and what argparse refuses
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    leave(status)


def leave(status: int) -> NoReturn:
    """Ends the process at once, without waiting for threads of libraries or of checks that were interrupted."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end(number: int, frame: object) -> NoReturn:
    os.write(2, b"stopped before anything was read\n")
    os._exit(0)


if __name__ == "__main__":
    run()
