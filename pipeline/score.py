"""Scores a Kafka topic with a model server: the command without a name."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.cli import options
from pipeline.cli.config import Config
from pipeline.cli.entry import EXIT_WRONG, flags_or_told


def main(launch: Callable[[Config], int] | None = None) -> int:
    """Runs the command line; returns the exit status.

    Args:
        launch: Runs the job that the flags describe. ``None``: ``pipeline.launch``, imported once the flags are right.
    """
    config = flags_or_told(options.parse)
    if config is None:
        return EXIT_WRONG
    if launch is not None:
        return launch(config)
    from pipeline.launch import launch as run

    return run(config)
