"""Scores a Kafka topic with a model server: the command without a name."""

from __future__ import annotations

import sys

from pipeline.cli import options
from pipeline.cli.program import program
from transforms.errors import ConfigError


def main() -> int:
    """Runs the command line; returns the exit status."""
    try:
        config = options.parse(sys.argv[1:])
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"error: {mistake}", file=sys.stderr)
        print(f"{program()} --help lists the flags", file=sys.stderr)
        return 2
    from pipeline.launch import launch

    return launch(config)
