"""Flags whose value is wrong: a rule that needs one of them says nothing, as what it would say is about the default instead.

The mistake of a wrong value is told already. What follows from the default would send people elsewhere: ``--request: is for
--model=json+http://…``, of a ``--model`` that only lacks its region.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")


class WrongValueError(Exception):
    """Somebody looks at the value of a flag that is wrong."""


class RightValues:
    """A config as far as its values are right: to look at another one raises ``WrongValueError``, also by a property.

    Args:
        config: The config.
        wrong: The fields whose values are wrong.
    """

    def __init__(self, config: object, wrong: Collection[str]):
        self._config, self._wrong = config, wrong

    def __getattr__(self, name: str) -> Any:
        if name in self._wrong:
            raise WrongValueError(name)
        found = inspect.getattr_static(self._config, name, None)
        return found.__get__(self) if isinstance(found, property) else getattr(self._config, name)


def as_far_as_right(find: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Yields the mistakes that are found before somebody looks at a wrong value."""
    try:
        yield from find()
    except WrongValueError:
        return


def settled(settle: Callable[[], _T], otherwise: Callable[[], _T], field: str, wrong: set[str]) -> _T:
    """Returns a value that follows from several flags. If one of them is wrong, so is this value.

    Args:
        settle: Gives the value.
        otherwise: Gives one of the defaults of wrong flags.
        field: Its field in the config.
        wrong: It is added to these.
    """
    try:
        return settle()
    except WrongValueError:
        wrong.add(field)
        return otherwise()
