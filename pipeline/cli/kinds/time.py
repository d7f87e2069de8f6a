"""Kinds of times."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from pipeline.cli.kinds.base import One
from transforms.errors import ConfigError
from transforms.kafka.start_from import moment_ms, normalized

HOW = "give today, yesterday, 2h ago as 2h (or s, m, d, w), or an ISO time such as 2026-01-31T12:00:00+00:00"


def moment(now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)) -> One[int]:
    """A time as ``--start_from`` takes it, read as milliseconds since the epoch; in UTC unless it has a zone."""

    def check(name: str, value: str) -> int:
        try:
            found = moment_ms(normalized(value), now())
        except ValueError:
            found = None
        if found is None:
            raise ConfigError([f"--{name}={value}: {HOW}"])
        return found

    return One(check=check, metavar="TIME", pattern=r"today|yesterday|-?\d{1,6}[smhdw]|\d{4}-\d{2}-\d{2}([T ].*)?")
