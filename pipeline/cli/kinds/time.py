"""Kinds of times."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable

from pipeline.cli.kinds.base import One
from transforms.errors import ConfigError

_AGO = re.compile(r"-?(?P<count>\d{1,9})(?P<unit>[smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(now: Callable[[], float] = time.time) -> One[int]:
    """An ISO time, in UTC unless it has a zone, or how long ago, such as ``2h``; read as milliseconds since the epoch."""

    def check(name: str, value: str) -> int:
        if ago := _AGO.fullmatch(value):
            return round(now() * 1000) - int(ago["count"]) * _UNIT_S[ago["unit"]] * 1000
        try:
            moment = datetime.datetime.fromisoformat(value)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            text = "give an ISO time such as 2026-01-31T12:00:00+00:00, or how long ago, such as 30m, 2h or 3d"
            raise ConfigError([f"--{name}={value}: {text}"]) from None

    return One(check=check, metavar="TIME", pattern=rf"{_AGO.pattern}|\d{{4}}-\d{{2}}-\d{{2}}([T ].*)?")
