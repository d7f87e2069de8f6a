"""Command line → one frozen, checked ``Config``. ALL mistakes are reported together, each with its cure.

    command_line.py      what was given, flag by flag    yaml_file.py, named_values.py: from files, the environment
    kinds/               each flag's text → its value
    settle.py            what follows from several flags: auto, the demo's topics
    rules/               what does not fit together
    beam_arguments.py    what is no flag of ours

Nothing here imports Beam, so that a wrong flag is answered at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.cli.beam_arguments import argument_problems
from pipeline.cli.command_line import ABOUT, NO_VALUE, given_flags
from pipeline.cli.config import Config
from pipeline.cli.flag import Flag, Values, by_name, flags_of
from pipeline.cli.kinds.base import Named
from pipeline.cli.named_values import NamedValues, refuse_variables
from pipeline.cli.program import program
from pipeline.cli.rules import Rule, broken_rules
from pipeline.cli.wrong_values import RightValues, as_far_as_right, settled
from pipeline.cli.yaml_file import CONFIG, ConfigFile, flags_in
from transforms.errors import ConfigError

C = TypeVar("C", bound=Config)


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Config:
    """Parses the command line of ``python -m pipeline``.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    return parse_as(Config, argv, environ, program(), ABOUT)


def parse_as(
    table: type[C],
    argv: Sequence[str],
    environ: Mapping[str, str],
    prog: str,
    about: str,
    rules: Callable[[Values], Sequence[Rule]] | None = None,
) -> C:
    """Parses the command line of a command that adds flags of its own.

    Args:
        table: ``Config``, or a subclass with rows of its own.
        argv: The command line.
        environ: The environment.
        prog: The command, for ``--help``.
        about: What it does, for ``--help``.
        rules: Gives the rules of a command that runs no job on a runner; ``None``: all those of a job.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    flags = flags_of(table)
    mistakes: list[str] = []
    given, rest = given_flags(argv, flags, prog, about)
    given = _with_values(given, mistakes)
    file = flags_in(given[CONFIG], by_name(flags), mistakes) if CONFIG in given else ConfigFile({}, {})
    values = _read(flags, given, file, environ, mistakes)
    wrong = {row.field for row in flags if row.name in values.wrong}
    config = table(beam_args=tuple(rest), **{row.field: _field(row, values, wrong) for row in flags})
    config = cast("C", RightValues(config, wrong)) if wrong else config
    mistakes += broken_rules(config, flags, values, rules(values) if rules else None)
    mistakes += as_far_as_right(lambda: argument_problems(rest, config, flags))
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    return config


def _field(row: Flag, values: Values, wrong: set[str]) -> Any:
    settle = row.settle
    if settle is None:
        return values.read[row.name]
    defaults = dataclasses.replace(values, wrong=frozenset())
    return settled(lambda: settle(values), lambda: settle(defaults), row.field, wrong)


def _with_values(given: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """Drops flags that came without a value, and reports them."""
    found = {}
    for name, value in given.items():
        kept = [item for item in value if item is not NO_VALUE] if isinstance(value, list) else value
        if kept is NO_VALUE or kept != value:
            mistakes.append(f"--{name}: takes a value, as in --{name}=VALUE")
        if kept is not NO_VALUE:
            found[name] = kept
    return found


def _read(
    flags: Sequence[Flag], typed: Mapping[str, Any], file: ConfigFile, environ: Mapping[str, str], mistakes: list[str]
) -> Values:
    """Checks each flag alone. A wrong one gets its default, so that the checks of the others still run."""
    named = NamedValues(environ)
    given, read, wrong, partial = {**file.values, **typed}, {}, set[str](), set[str]()
    for row in flags:
        value = given.get(row.name)
        told = len(named.mistakes)
        try:
            if isinstance(row.kind, Named):
                value = _pairs(row, given, named)
            elif not row.literal:
                refuse_variables(row.name, value, flags)
            read[row.name] = row.unset if value is None else row.kind.read(row.name, value)
        except ConfigError as error:
            named.mistakes.extend(error.mistakes)
            read[row.name] = row.unset
            wrong.add(row.name)
        if len(named.mistakes) > told and row.name not in wrong:
            partial.add(row.name)
        if row.name in file.lines and row.name not in typed:
            named.mistakes[told:] = [f"{mistake} ({file.lines[row.name]})" for mistake in named.mistakes[told:]]
    mistakes.extend(named.mistakes)
    partial.update(row.name for row in flags if row.lines in wrong)
    return Values(read, given, named.variables, file.unread, frozenset(wrong), frozenset(partial))


def _pairs(row: Flag, given: Mapping[str, Any], named: NamedValues) -> list[tuple[str, str]]:
    """Returns the pairs of the file, then those of the flag, which override them."""
    path = given.get(row.lines)
    of_file = named.of_file(row.name, path) if path and Path(path).is_file() else []
    return of_file + named.of_flag(row.name, given.get(row.name, []))
