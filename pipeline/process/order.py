"""``Order``: what a worker process is started with, and the exit statuses that it answers with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.job import Job

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_FENCED = 3
"""Exit status of a fenced worker. It must not be restarted: a newer process has its instance id."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """The order to a worker process: the job and the worker's number."""

    job: Job
    runner: str
    beam_args: tuple[str, ...]
    stats_file: Path
    index: int
    workers: int
