"""The flags of ``python -m pipeline.check``: those of ``python -m pipeline``, and some of its own."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cli.attended import AttendedConfig
from pipeline.cli.command_line import given_flags
from pipeline.cli.flag import flag, flags_of
from pipeline.cli.kinds.base import items
from pipeline.cli.kinds.files import new_file
from pipeline.cli.kinds.plain import SWITCH, whole
from pipeline.cli.options import parse_as
from pipeline.cli.program import program
from pipeline.shell import shell_command

NAME = "check"
"""The command's."""

ABOUT = """\
Says whether model, topics and flags fit, and what one request would look like. Reads the model's metadata and, with
--sample, records of the input topics; with --try, sends the model one request of them. Changes nothing: no group is
joined, no offset committed, no topic made. Takes the flags of {run}. Exit status: 0 they fit, 2 they do not, with the
field at fault."""

CHECK = "Check"
"""The section of this command's own flags."""

LEFT_OUT = "…"
"""Stands in the command of the run for a value that may be secret."""

_HARMLESS = {"security.protocol", "sasl.mechanism", "sasl.mechanisms", "ssl.ca.location", "client.id", "group.instance.id"}
"""Properties of Kafka whose values are no secrets."""

_NAMED = re.compile(r"([A-Za-z]+ )?(\$\{[^{}]+\})+")
"""A secret by its name, ``${ENV}`` or ``${secret:…}``, perhaps with ``Bearer`` before it."""

MAX_SAMPLE = 100_000
"""The most records of a sample, which is held in memory."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig(AttendedConfig):
    """The configuration of the run that is checked, with the flags of the check."""

    sample: int = flag(CHECK, whole(least=0, most=MAX_SAMPLE), "how many records to read and decode", default="0")
    try_request: bool = flag(
        CHECK,
        SWITCH,
        "send one real request, made of the records read, and show the answer to the first of them",
        name="try",
    )
    guess_signature: Path | None = flag(
        CHECK,
        new_file(),
        "ask no model: write what one would take whose inputs are the fields of the records, as a file for --signature",
    )
    show_values: bool = flag(CHECK, SWITCH, "show values of the records; without it, only their types and shapes")


def run_command(argv: Sequence[str], features: str | None = None, *, create_topics: bool = False) -> str:
    """Returns the command of the run that was checked, for a shell, without values that may be secrets.

    Args:
        argv: The command line of the check.
        features: The value of ``--features`` that was found to fit, in place of what was given.
        create_topics: Whether the run is to make the output topic, which is missing.
    """
    flags = flags_of(CheckConfig)
    given, rest = given_flags(argv, flags, program(NAME), ABOUT)
    words = []
    if features is not None:
        given["features"] = [features]
    if create_topics:
        given["create_topics"] = True
    for row in flags:
        if row.section == CHECK or row.name not in given:
            continue
        if given[row.name] is True:
            words.append(f"--{row.name}")  # a switch, as people type it
        else:
            for value in items(given[row.name]):
                name, _, secret = value.partition("=")
                told = not row.secret or name in _HARMLESS or _NAMED.fullmatch(secret)
                words.append(f"--{row.name}={value if told else f'{name}={LEFT_OUT}'}")
    return f"{program()} {shell_command([*words, *rest])}".rstrip()


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> CheckConfig:
    """Parses the command line.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    return parse_as(CheckConfig, argv, environ, program(NAME), ABOUT.format(run=program()))
