"""Checks the arguments that are not our own flags: Beam's options are passed on, anything else is a mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.cli.beam_values import beam_value
from pipeline.cli.command_line import beam_flags
from pipeline.cli.config import Config
from pipeline.cli.flag import Flag
from pipeline.cli.names import PORTABLE
from pipeline.cli.nearest import nearest
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
    unknown = [argument.partition("=")[0] for argument in rest if _is_flag(argument)]
    if unknown:
        known = beam_flags() | set(flink.OPTIONS if config.flink or config.runner == PORTABLE else ())
        ours = [f"--{flag.name}" for flag in flags]
        found += [f"{name}: no such flag{nearest(name, ours)}" for name in unknown if name not in known]
    stray = 0
    for index, argument in enumerate(rest):
        after_flag = index > 0 and _is_flag(rest[index - 1]) and "=" not in rest[index - 1]
        if not _is_flag(argument) and not after_flag:
            stray += 1
    if stray:  # they are not shown: each may be the second word of a secret that lacks its quotes
        words = f"{stray} words belong" if stray > 1 else "a word belongs"
        found.append(
            f"{words} to no flag; what is this? Flags are given as --name=value, and a value with spaces in it in quotes"
        )
    return found


def _is_flag(argument: str) -> bool:
    return bool(re.match(r"--?[^\d.-]", argument))
