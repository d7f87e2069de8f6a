"""The base classes of kinds. A kind serves the parser, ``--help``, the reference and the flex template alike.

A check is a function of a flag's name and its text. It returns the typed value, or raises ``ConfigError`` with messages that
name the flag and the cure.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from transforms.errors import ConfigError

T_co = TypeVar("T_co", covariant=True)

Pairs = tuple[tuple[str, str], ...]
"""Names with their values, in the order in which they were given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind(abc.ABC, Generic[T_co]):
    """What a flag takes.

    Attributes:
        metavar: What stands for the value in ``--help`` and in the reference.
        pattern: A regular expression that fits every good value, or every good item of a flag that may be repeated. Dataflow
            checks a template's parameters by it.
        choices: All values, if they are few.
        content: The value is a file whose content becomes part of the job: the launching process reads it.
    """

    metavar: str = "VALUE"
    pattern: str = ".+"
    choices: tuple[str, ...] = ()
    content: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return False

    def regex(self) -> str:
        """Returns ``pattern``, or what a kind must look up, such as the protocols that are installed."""
        return self.pattern

    @abc.abstractmethod
    def read(self, name: str, given: object) -> T_co:
        """Returns the typed value.

        Args:
            name: The flag's, without dashes.
            given: Text, or what YAML has made of it: a boolean, a list.

        Raises:
            ConfigError: With every mistake in it.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class One(Kind[T_co]):
    """A flag with one value.

    Attributes:
        check: Turns the text into the value.
    """

    check: Callable[[str, str], T_co]

    def read(self, name: str, given: object) -> T_co:
        """As ``Kind.read``."""
        if isinstance(given, list):
            raise ConfigError([f"--{name}: takes one value"])
        text = str(given)
        if not text:
            raise ConfigError([f"--{name}: is empty; leave it out or give a value"])
        return self.check(name, text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Many(Kind[T_co]):
    """A flag that may be repeated; without it there are no items.

    Attributes:
        check: Turns all items into the value.
    """

    check: Callable[[str, Sequence[str]], T_co]

    @property
    def repeatable(self) -> bool:
        """As ``Kind.repeatable``."""
        return True

    def read(self, name: str, given: object) -> T_co:
        """As ``Kind.read``."""
        return self.check(name, items(given))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named(Kind[T_co]):
    """A flag that takes ``NAME=VALUE`` and may be repeated. ``${ENV}`` in a value is replaced.

    Attributes:
        check: Turns all names with their values into the value.
    """

    check: Callable[[str, Pairs], T_co]
    metavar: str = "NAME=VALUE"
    pattern: str = r"[^=|]+=[^|]*"

    @property
    def repeatable(self) -> bool:
        """As ``Kind.repeatable``."""
        return True

    def read(self, name: str, given: object) -> T_co:
        """As ``Kind.read``; ``given`` holds pairs, the environment's values among them: see ``named_values.py``."""
        assert isinstance(given, (list, tuple))
        return self.check(name, tuple(given))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Switch(Kind[bool]):
    """A flag that needs no value: alone it means true."""

    metavar: str = "true|false"
    pattern: str = "true|false"

    def read(self, name: str, given: object) -> bool:
        """As ``Kind.read``."""
        if isinstance(given, str) and given.lower() in ("true", "false"):
            return given.lower() == "true"
        if not isinstance(given, bool):
            raise ConfigError([f"--{name}: give true or false, or the flag alone for true"])
        return given


def items(given: object) -> list[str]:
    """The items of a flag that may be repeated: a list from the command line, a list or one value from YAML."""
    return [str(item) for item in given] if isinstance(given, list) else [str(given)]
