"""The exit status of both commands for an error."""

from __future__ import annotations

from pipeline.process.order import EXIT_FAILED, EXIT_WRONG
from transforms.errors import KafkaError, ModelError, NotReadyError, ScoringError


def exit_status(error: ScoringError, wait_for_start_s: float) -> int:
    """Returns 2 for what a person has to change, 1 for what may be better the next time."""
    waited = isinstance(error, NotReadyError) and wait_for_start_s > 0
    return EXIT_FAILED if waited or isinstance(error, (KafkaError, ModelError)) else EXIT_WRONG
