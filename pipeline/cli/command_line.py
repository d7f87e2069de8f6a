"""The argparse parser, built from the table of flags. It rejects nothing: ``options.py`` reports all mistakes together."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from pipeline.cli.flag import Flag
from pipeline.cli.kinds.base import Switch
from pipeline.cli.telling import TellingParser
from pipeline.process.logs import log_to_stderr

ABOUT = "Scores a Kafka topic with a model server, exactly once. With no flags: a demo, everything embedded."


def given_flags(argv: Sequence[str], flags: Sequence[Flag], prog: str, about: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the values given by flag name, and the arguments that are not our flags.

    Args:
        argv: The command line.
        flags: The table.
        prog: The command, for ``--help``.
        about: What it does, for ``--help``.
    """
    parser = TellingParser(
        prog=prog,
        usage=f"{prog} [--flag=value …]",
        description=about,
        epilog="Beam's own options (--project, --region, --temp_location, …) pass through. An installed package has the "
        "same commands in any folder: kafka-model-scoring [check | dead_letters | replay | embedded | dataflow_job]. "
        "python -m pipeline is for a checkout.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=version(), help="print the version")
    groups: dict[str, Any] = {}
    for flag in flags:
        group = groups.get(flag.section) or groups.setdefault(flag.section, parser.add_argument_group(flag.section))
        group.add_argument(f"--{flag.name}", help=_help(flag).replace("%", "%%"), **_how(flag))
    namespace, rest = parser.parse_known_args(list(argv))
    return vars(namespace), rest


def version() -> str:
    """Returns what ``--version`` prints, of every command."""
    try:
        return f"kafka-model-scoring {importlib.metadata.version('kafka-model-scoring')}"
    except importlib.metadata.PackageNotFoundError:
        return "kafka-model-scoring of a checkout"


def _how(flag: Flag) -> dict[str, Any]:
    # A flag without its value is not argparse's to refuse: it would stop at the first one and hide all other mistakes.
    without = True if isinstance(flag.kind, Switch) else NO_VALUE
    how: dict[str, Any] = {"metavar": flag.kind.metavar, "nargs": "?", "const": without}
    if flag.kind.repeatable:
        how["action"] = "append"
    return how


def _help(flag: Flag) -> str:
    return flag.text + (f" (default: {flag.default})" if flag.default is not None else "")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Formats help without brackets around a flag's value: argparse takes it as optional, ``options.py`` does not."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == "?":
            return "" if action.const is True else str(action.metavar)
        return super()._format_args(action, default_metavar)


NO_VALUE = object()


def beam_flags() -> set[str]:
    """Returns all flags that Beam knows. Imports Beam, which takes seconds."""
    log_to_stderr()
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    for cls in PipelineOptions.__subclasses__():
        cls._add_argparse_args(parser)
    return {option for action in parser._actions for option in action.option_strings}
