"""``--start_from``: the words and times that say where a group starts, and the moments that they mean.

| text | means |
|---|---|
| ``committed`` | where the group stopped |
| ``committed_or_earliest`` | where the group stopped; where that record is gone, the first one that there is |
| ``earliest``, ``latest`` | the first record that there is; the end |
| ``2026-01-31T12:00:00+00:00`` | the first record from this time on; in UTC unless it has a zone |
| ``today``, ``yesterday`` | 0:00 of that day, in UTC |
| ``-2h``, ``2h`` | two hours before now; also ``s``, ``m``, ``d``, ``w`` |
"""

from __future__ import annotations

import datetime
import re

COMMITTED = "committed"
COMMITTED_OR_EARLIEST = "committed_or_earliest"
"""As Kafka's ``auto.offset.reset=earliest``: moves only the partitions whose committed offset is not there any more."""

EARLIEST = "earliest"
LATEST = "latest"

_PLACES = (COMMITTED, COMMITTED_OR_EARLIEST, EARLIEST, LATEST)
_DAYS_AGO = {"today": 0, "yesterday": 1}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"-?(\d{1,6})([smhdw])")

PATTERN = "|".join((*_PLACES, *_DAYS_AGO, r"-?\d{1,6}[smhdw]", r"\d{4}-\d{2}-\d{2}([T ].*)?"))
"""A regular expression that fits every good text."""

HOW = (
    "give committed, committed_or_earliest, earliest, latest, yesterday, -2h (or s, m, d, w) or an ISO time such as "
    "2026-01-31T12:00:00+00:00"
)

GO_ON_WITHOUT = f"run once with --start_from={COMMITTED_OR_EARLIEST} --start_from_again"
"""How a job goes on where records that its group would read next are gone. ``earliest`` would read what it has answered of
the other partitions again."""


def normalized(text: str) -> str:
    """Returns the one way to write what a text says.

    Raises:
        ValueError: It is none of the above.
    """
    if text in (*_PLACES, *_DAYS_AGO):
        return text
    if ago := _AGO.fullmatch(text):
        moment_ms(f"-{ago[1]}{ago[2]}")  # raises for a time before the year 1
        return f"-{int(ago[1])}{ago[2]}"
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).isoformat()


def moment_ms(text: str, now: datetime.datetime | None = None) -> int | None:
    """Returns the time that a normalized text means, in milliseconds from the epoch; ``None`` where it names no time.

    Args:
        text: What ``normalized`` returned.
        now: The present time.

    Raises:
        ValueError: There is no such time.
    """
    if text in _PLACES:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    if text in _DAYS_AGO:
        day = now.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        moment = day - datetime.timedelta(days=_DAYS_AGO[text])
    elif ago := _AGO.fullmatch(text):
        try:
            moment = now - datetime.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise ValueError(f"{text}: there is no such time") from error
    else:
        moment = datetime.datetime.fromisoformat(text)
    return int(moment.timestamp() * 1000)
