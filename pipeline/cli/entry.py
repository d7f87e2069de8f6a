"""How every command begins: its command line is read, or what is wrong with it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.cli.program import program
from pipeline.terminal import quiet_grpc, tell_error
from transforms.errors import ConfigError

EXIT_WRONG = 2
"""The exit status of a wrong flag."""

_Config = TypeVar("_Config")


def flags_or_told(
    parse: Callable[[Sequence[str]], _Config], argv: Sequence[str] | None = None, command: str = ""
) -> _Config | None:
    """Parses a command line.

    Args:
        parse: Raises ``ConfigError`` with every mistake found.
        argv: The arguments; those of this process by default.
        command: The command's name; none for the one that scores records.

    Returns:
        The flags; ``None`` if the mistakes were told, and the command is to end with ``EXIT_WRONG``.
    """
    quiet_grpc()  # before anything is parsed: a check of --model imports gRPC
    try:
        return parse(sys.argv[1:] if argv is None else argv)
    except ConfigError as error:
        for mistake in error.mistakes:
            tell_error(mistake)
        print(f"{program(command)} --help lists the flags", file=sys.stderr)
        return None
