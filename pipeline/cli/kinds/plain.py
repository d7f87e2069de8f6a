"""Kinds that are of no subject: text, choices, numbers, addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from pipeline.cli.kinds.base import Many, One, Switch
from pipeline.cli.names import AUTO
from pipeline.cli.nearest import nearest
from transforms.errors import ConfigError
from transforms.hosts import HOST
from transforms.printable import one_line

T = TypeVar("T")

SWITCH = Switch()

_WHOLE_FROM_0 = r"\d{1,15}"
_WHOLE_FROM_1 = r"[1-9]\d{0,14}"
_SECONDS = r"\d{1,12}(\.\d+)?|\.\d+"


def text(metavar: str = "VALUE", pattern: str = ".+") -> One[str]:
    """Any text."""
    return One(check=lambda _, value: value, metavar=metavar, pattern=pattern)


def choice(*choices: str) -> One[str]:
    """One of a few words."""

    def check(name: str, value: str) -> str:
        if value not in choices:
            raise ConfigError([f"--{name}={value}: {_one_of(value, choices)}"])
        return value

    return One(check=check, metavar="|".join(choices), pattern="|".join(choices), choices=choices)


def names(metavar: str) -> Many[tuple[str, ...]]:
    """Names with commas between them, none of them twice."""

    def check(name: str, values: Sequence[str]) -> tuple[str, ...]:
        found = [part.strip() for value in values for part in value.split(",")]
        if not all(found):
            raise ConfigError([f"--{name}={','.join(values)}: a name is empty; give {metavar}"])
        if twice := [one for index, one in enumerate(found) if one in found[:index]]:
            raise ConfigError([f"--{name}={','.join(values)}: {twice[0]} is given twice"])
        return tuple(found)

    return Many(check=check, metavar=metavar, pattern="[^|]+")


def choices(*choices: str) -> Many[tuple[str, ...]]:
    """Some of a few words, with commas between them."""
    several = names(f"{'|'.join(choices)},…")

    def check(name: str, values: Sequence[str]) -> tuple[str, ...]:
        found = several.check(name, values)
        if wrong := [word for word in found if word not in choices]:
            raise ConfigError([f"--{name}={word}: {_one_of(word, choices)}" for word in wrong])
        return found

    return Many(check=check, metavar=several.metavar, pattern=several.pattern)


def whole(least: int = 1, most: int | None = None) -> One[int]:
    """A whole number from ``least`` to ``most``."""

    def check(name: str, value: str) -> int:
        if not re.fullmatch(_WHOLE_FROM_0, value) or int(value) < least or (most is not None and int(value) > most):
            upper = f" and at most {most}" if most is not None else ""
            raise ConfigError([f"--{name}={value}: give a whole number of at least {least}{upper}"])
        return int(value)

    return One(check=check, metavar="N", pattern=_WHOLE_FROM_1 if least else _WHOLE_FROM_0)


def whole_or_auto(auto: T) -> One[int | T]:
    """A whole number from 1, or the word ``auto``, which becomes the value ``auto``."""
    number = whole()

    def check(name: str, value: str) -> int | T:
        return auto if value == AUTO else number.check(name, value)

    return One(check=check, metavar="N|auto", pattern=f"{AUTO}|{number.pattern}")


def rate() -> One[float]:
    """``N/s`` or ``N/min``, above 0, fractions allowed; the value is for a second."""
    pattern = r"(\d{1,12}(\.\d{1,6})?)/(s|min)"

    def check(name: str, value: str) -> float:
        found = re.fullmatch(pattern, value)
        if found is None or not float(found[1]):
            raise ConfigError([f"--{name}={value}: give a number above 0 and its time, such as 10/s or 600/min"])
        return float(found[1]) / (60 if found[3] == "min" else 1)

    return One(check=check, metavar="N/s|N/min", pattern=pattern)


def seconds(or_0: bool = False) -> One[float]:
    """Seconds, above 0 (or 0, with ``or_0``), fractions allowed."""

    def check(name: str, value: str) -> float:
        if not re.fullmatch(_SECONDS, value) or (float(value) <= 0 and not or_0):
            raise ConfigError([f"--{name}={value}: give a number {'of at least' if or_0 else 'above'} 0"])
        return float(value)

    return One(check=check, metavar="SECONDS", pattern=_SECONDS)


def milliseconds() -> One[float]:
    """Whole milliseconds from 1; the value is in seconds."""
    number = whole()
    return One(check=lambda name, value: number.check(name, value) / 1000, metavar="N", pattern=number.pattern)


def host_port() -> One[str]:
    """``HOST:PORT``."""
    pattern = rf"{HOST}:\d{{1,5}}"

    def check(name: str, value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ConfigError([f"--{name}={one_line(value)}: give HOST:PORT"])
        return value

    return One(check=check, metavar="HOST:PORT", pattern=pattern)


def http_url() -> One[str]:
    """``http(s)://HOST[:PORT][/PATH]``, without a user's name: a secret is no flag."""
    pattern = rf"https?://{HOST}(:[0-9]{{1,5}})?(/[^\s@?#]*)?"

    def check(name: str, value: str) -> str:
        if "@" in value:
            raise ConfigError([f"--{name}: must not hold a user name or password; give http(s)://HOST:PORT"])
        if not re.fullmatch(pattern, value):
            raise ConfigError([f"--{name}={one_line(value)}: give http(s)://HOST:PORT"])
        return value

    return One(check=check, metavar="URL", pattern=pattern)


def _one_of(value: str, choices: Sequence[str]) -> str:
    return f"use {', '.join(choices[:-1])} or {choices[-1]}{nearest(value, choices)}"
