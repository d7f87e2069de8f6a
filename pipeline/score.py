"""Scores a Kafka topic with a model server: the command without a name."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.entry import EXIT_WRONG, flags_or_told


def main() -> int:
    """Runs the command line; returns the exit status."""
    config = flags_or_told(options.parse)
    if config is None:
        return EXIT_WRONG
    from pipeline.launch import launch

    return launch(config)
