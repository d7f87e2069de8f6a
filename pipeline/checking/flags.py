"""The flags of ``python -m pipeline.check``: those of ``python -m pipeline``, and what to look at."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from pipeline.cli.command_line import NO_VALUE, given_flags
from pipeline.cli.config import Config
from pipeline.cli.flags import Flag
from pipeline.cli.options import config_of
from transforms.errors import ConfigError

PROG = "python -m pipeline.check"
ABOUT = """\
Says whether model, topics and flags fit, and what one request would look like. Reads the model's metadata and, with
--sample, records of the input topics. Changes nothing: no group is joined, no offset committed, no topic made. Takes the
flags of python -m pipeline. Exit status: 0 they fit, 2 they do not, with the field at fault."""

SAMPLE = Flag("sample", "0", "how many records to read and decode", "count", group="Check")
SHOW_VALUES = Flag("show_values", None, "show values of the records; without it, only their types and shapes", "switch",
                   group="Check")  # fmt: skip
MAX_SAMPLE = 100_000
"""A look, not a run: all of it is held in memory."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What to check.

    Attributes:
        config: The run that is checked.
        sample: Records to read at most.
        show_values: Whether values may be shown.
    """

    config: Config
    sample: int = 0
    show_values: bool = False


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Asked:
    """Parses the command line.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    given, rest = given_flags(argv, (SAMPLE, SHOW_VALUES), PROG, ABOUT)
    sample, show = given.pop("sample", SAMPLE.default), given.pop("show_values", False)
    mistakes = []
    if sample is NO_VALUE or not str(sample).isdecimal() or len(str(sample)) > 6 or int(sample) > MAX_SAMPLE:
        shown = "" if sample is NO_VALUE else f"={sample}"
        mistakes.append(f"--sample{shown}: give a whole number of at most {MAX_SAMPLE}")
    if str(show).lower() not in ("true", "false"):
        mistakes.append("--show_values: give true or false, or the flag alone for true")
    try:
        config = config_of(given, rest, environ)
    except ConfigError as error:
        raise ConfigError([*mistakes, *error.mistakes]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return Asked(config, int(sample), str(show).lower() == "true")
