"""``TellingParser``: argparse for the small commands, with mistakes told as those of all other commands are."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from typing import NoReturn

from pipeline.cli.nearest import nearest
from transforms.errors import ConfigError

_NO_VALUE = re.compile(r"argument ([^:]*): expected (one|at least one) argument")


def is_flag(argument: str) -> bool:
    """Whether an argument of a command line is a flag: it begins with ``-``, and is neither a number nor ``--``."""
    return bool(re.match(r"--?[^\d.-]", argument))


def unknown_flags(rest: Sequence[str], known: Collection[str], ours: Collection[str]) -> list[str]:
    """Returns a mistake for each flag that nobody knows, with the closest that there is.

    Args:
        rest: The arguments that are not the command's own flags.
        known: Flags that pass through. One of them is suggested only where none of the command's own is as close.
        ours: The command's own flags, with their dashes.
    """
    names = [*ours, "--version", "--help"]
    unknown = [name for name in (argument.partition("=")[0] for argument in rest if is_flag(argument)) if name not in known]
    return [f"{name}: no such flag{nearest(name, names, sorted(known))}" for name in unknown]


def stray_words(rest: Sequence[str]) -> list[str]:
    """Returns a mistake if words belong to no flag.

    The words are not shown: each may be a part of a secret that lacks its quotes.
    """
    stray = 0
    for index, argument in enumerate(rest):
        after_flag = index > 0 and is_flag(rest[index - 1]) and "=" not in rest[index - 1]
        stray += not is_flag(argument) and not after_flag
    if not stray:
        return []
    words = f"{stray} words belong" if stray > 1 else "a word belongs"
    return [f"{words} to no flag; what is this? Flags are given as --name=value, and a value with spaces in it in quotes"]


class TellingParser(argparse.ArgumentParser):
    """Raises ``ConfigError`` where argparse prints its usage and ends the process."""

    def error(self, message: str) -> NoReturn:
        """Says what argparse found, as the other commands say it.

        Raises:
            ConfigError: Always.
        """
        if without := _NO_VALUE.fullmatch(message):
            raise ConfigError([f"{without[1]}: takes a value, as in {without[1]}=VALUE"])
        raise ConfigError([message.replace("argument ", "")])

    def parse_telling(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parses a command line that has only flags of this command.

        Returns:
            The values, and a mistake for each argument that is none of them.

        Raises:
            ConfigError: argparse refuses the command line.
            SystemExit: ``--help`` or ``--version`` was asked for.
        """
        args, rest = self.parse_known_args(list(argv))
        ours = [name for name in self._option_string_actions if name.startswith("--")]
        return args, [*unknown_flags(rest, (), ours), *stray_words(rest)]
