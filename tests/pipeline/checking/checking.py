"""``Checking``: the check of one topic, as tests run it."""

from __future__ import annotations

import io

import pytest

from pipeline.checking import flags as check_flags
from pipeline.checking.command import check
from pipeline.checking.waiting import StartWait
from pipeline.embedded.broker import EmbeddedBroker
from tests import topics


class Checking:
    """Runs checks of one topic.

    Attributes:
        code: The exit status of the latest.
        printed: What it printed.
        errors: What it said to standard error.
    """

    def __init__(self, broker: EmbeddedBroker, topic: str, capsys: pytest.CaptureFixture[str]):
        self.address, self.topic, self._capsys = broker.address, topic, capsys

    def produce(self, *values: bytes | None) -> None:
        """Adds records."""
        topics.produce(self.address, self.topic, values)

    def flags(self, *more: str) -> list[str]:
        """The command line."""
        return [
            f"--bootstrap_servers={self.address}",
            f"--input_topic={self.topic}",
            "--output_topic=out",
            f"--group_id=group-{self.topic}",
            *more,
        ]

    def run(self, *more: str, waiting: StartWait | None = None) -> int:
        """Checks; returns the exit status."""
        out = io.StringIO()
        self.code = check(check_flags.parse(self.flags(*more), {}), out, waiting=waiting)
        self.printed, self.errors = out.getvalue(), self._capsys.readouterr().err
        return self.code
