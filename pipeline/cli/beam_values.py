"""Reads values of Beam's own flags from the command line: ``--name=value`` or ``--name value``."""

from __future__ import annotations

from collections.abc import Sequence

FOREVER_S = 100_000_000
"""The value for ``--job_server_timeout``. It also limits how long a job runs: Beam's default fails a stream at 300 s."""


def beam_values(beam_args: Sequence[str], *names: str) -> list[str]:
    """Returns all values of the flags with these names, without dashes. A flag without a value counts as ``true``."""
    found = []
    for index, argument in enumerate(beam_args):
        name, equals, value = argument.partition("=")
        if name.lstrip("-") in names and name.startswith("-"):
            after = beam_args[index + 1] if index + 1 < len(beam_args) else "--"
            found.append(value if equals else "true" if after.startswith("--") else after)
    return found


def beam_value(beam_args: Sequence[str], name: str) -> str | None:
    """Returns the last value of a flag, which is the one that counts; ``None`` if it was not given."""
    return next(reversed(beam_values(beam_args, name)), None)
