"""``python -m pipeline``: scores a Kafka topic with a model server."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from pipeline.cli import options
from transforms.errors import ConfigError


def main() -> int:
    """Runs the command line; returns the exit status."""
    try:
        config = options.parse(sys.argv[1:])
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"error: {mistake}", file=sys.stderr)
        print("python -m pipeline --help lists the flags", file=sys.stderr)
        return 2
    from pipeline.launch import launch

    return launch(config)


def run() -> NoReturn:
    """Runs the command line, then ends the process at once, without waiting for threads of libraries."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # until the job runs; then these signals drain it
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end(number: int, frame: object) -> NoReturn:
    os.write(2, b"stopped before anything was read\n")
    os._exit(0)


if __name__ == "__main__":
    run()
