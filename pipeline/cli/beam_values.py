"""What Beam's own flags were given: ``--name=value`` or ``--name value``."""

from __future__ import annotations

from collections.abc import Sequence

FOREVER_S = 100_000_000
"""For ``--job_server_timeout``, which bounds the wait for a job's end, too: with Beam's 300 s a stream would fail then."""


def beam_values(beam_args: Sequence[str], *names: str) -> list[str]:
    """Returns the values that flags of these names (without dashes) were given; ``true`` for one without a value."""
    found = []
    for index, argument in enumerate(beam_args):
        name, equals, value = argument.partition("=")
        if name.lstrip("-") in names and name.startswith("-"):
            after = beam_args[index + 1] if index + 1 < len(beam_args) else "--"
            found.append(value if equals else "true" if after.startswith("--") else after)
    return found


def beam_value(beam_args: Sequence[str], name: str) -> str | None:
    """Returns the value that counts of a flag, which is the last; ``None`` if it was not given."""
    return next(reversed(beam_values(beam_args, name)), None)
