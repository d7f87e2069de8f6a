"""The checks of Kafka at a start, made in this process: what they refuse has started nothing, least of all Java."""

from __future__ import annotations

import contextlib
import time

import pytest

from pipeline.checking.waiting import StartWait
from pipeline.cli import options
from pipeline.starting import look
from tests.integration.process import Job
from transforms.errors import ConfigError, ContractError, NotReadyError

JAVA = ("--runner=PrismRunner", "--kafka_io=beam")
"""Flags of Beam's Java pair."""

WITHIN_S = 15.0
"""How soon a start is over that no waiting would help."""


def refusal(job: Job, *flags: str, environ: dict[str, str]) -> str:
    """Returns what is said against a start with these flags. Fails if that comes late, or nothing is said.

    Args:
        job: The job.
        flags: More flags; they win.
        environ: The environment.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack, pytest.raises((ConfigError, ContractError)) as caught:
        look(options.parse(job.command(*flags), environ), StartWait(WITHIN_S), stack)
    assert time.monotonic() - began < WITHIN_S, caught.value
    assert not isinstance(caught.value, NotReadyError), f"waited for in vain: {caught.value}"
    return str(caught.value)
