"""Checks the arguments that are not our own flags: Beam's options are passed on, anything else is a mistake."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.beam_values import beam_value
from pipeline.cli.command_line import beam_flags
from pipeline.cli.config import Config
from pipeline.cli.flag import Flag
from pipeline.cli.names import PORTABLE
from pipeline.cli.telling import is_flag, stray_words, unknown_flags
from pipeline.runners.flink import options as flink


def argument_problems(rest: Sequence[str], config: Config, flags: Sequence[Flag]) -> list[str]:
    """Returns arguments that Beam does not know or must not be given, each with its cure.

    Args:
        rest: The arguments that are not our flags.
        config: Our own flags, typed.
        flags: The table of them.
    """
    found = []
    if beam_value(rest, "direct_num_workers") not in (None, "1"):
        found.append(
            "--direct_num_workers: Beam drops data here: its parallel bundles lose what a streaming source still "
            "has to read, and the job ends early without a word; use --workers"
        )
    if beam_value(rest, "direct_running_mode") not in (None, "in_memory"):
        found.append("--direct_running_mode: only in_memory streams; use --workers for more processes")
    if any(is_flag(argument) for argument in rest):
        known = beam_flags() | set(flink.OPTIONS if config.flink or config.runner == PORTABLE else ())
        found += unknown_flags(rest, known, [f"--{flag.name}" for flag in flags])
    return found + stray_words(rest)
