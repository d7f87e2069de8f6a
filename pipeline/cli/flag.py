"""``Flag``: one row of the table of flags. ``flag`` declares a row as a field of a dataclass; ``flags_of`` lists the rows.

The parser, ``--config`` files, ``--help``, the reference, the flex template and the rules read rows. A new flag is one row::

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Flags:
        workers: int = flag(KAFKA, whole(), "processes that share the partitions", default="1")

The field's type follows from the kind, and a type checker compares the two: ``whole()`` makes an ``int`` with a default, and
``int | None`` without.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from pipeline.cli.kinds.base import Kind, Many, Named, One, Switch
from pipeline.cli.wrong_values import WrongValueError

T = TypeVar("T")

_ROW = "flag"
"""Where a field's metadata has its row."""


class Where(enum.Enum):
    """Where a flag may be refused: on a runner, or with one of the two implementations of Kafka."""

    NOT_DIRECT = "on other runners than the DirectRunner"
    REMOTE = "on Flink, and on another cluster by `PortableRunner`"
    DATAFLOW = "on Dataflow"
    NATIVE = "with `--kafka_io=native`"
    JAVA = "with `--kafka_io=beam`"
    JAVA_ELSEWHERE = "with `--kafka_io=beam` on remote workers"


@dataclasses.dataclass(frozen=True, slots=True)
class FlagRefusal:
    """States that a flag can't be used somewhere, and why.

    Attributes:
        where: Where.
        why: The reason and the cure; ``{runner}`` stands for the runner.
        value: The value that does not fit; ``None`` for any that is not the default.
    """

    where: Where
    why: str
    value: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: Without the dashes.
        field: The field of the config that holds its value.
        section: The heading it stands under in ``--help`` and in the reference.
        kind: What it takes, and the check of it.
        help: One sentence, without a full stop.
        default: The text that counts when it is not given; ``None`` for nothing.
        settle: How the config's value follows from all flags; ``None`` where the flag's own value is it.
        secret: Whether the config's ``repr`` leaves it out.
        embedded: What to add to ``help`` where broker and model server can be embedded.
        required: Whether a job without embedded parts needs it.
        lines: For a ``Named`` flag: the flag that names a file of such lines.
        refused: Where it does not fit, and why.
        no_parameter: Why the flex template has no parameter of this name; empty if it has.
        literal: Whether ``${NAME}`` in its value may be meant as it stands: it is of keys, fields or texts of records.
    """

    name: str
    field: str
    section: str
    kind: Kind[Any]
    help: str
    default: str | None = None
    settle: Callable[[Values], Any] | None = None
    secret: bool = False
    embedded: str = ""
    required: bool = False
    lines: str = ""
    refused: tuple[FlagRefusal, ...] = ()
    no_parameter: str = ""
    literal: bool = False

    @property
    def unset(self) -> Any:
        """The typed value when the flag is not given."""
        if self.default is not None:
            return self.kind.read(self.name, self.default)
        if isinstance(self.kind, Switch):
            return False
        return self.kind.read(self.name, []) if self.kind.repeatable else None

    @property
    def text(self) -> str:
        """What ``--help`` and the reference say."""
        replaced = ", ${ENV} is replaced" if isinstance(self.kind, Named) else ""
        repeated = "; may be repeated" if self.kind.repeatable else ""
        return f"{self.help}{replaced}{repeated}{self.embedded}"


@dataclasses.dataclass(frozen=True, slots=True)
class Values:
    """The values of all flags, each as its kind reads it.

    Attributes:
        read: By the flag's name; the default where it was not given, or is wrong.
        given: What was given by name, as text or as YAML has it; wrong ones, too.
        variables: Where ``${ENV}`` was replaced (``"kafka_config sasl.password"``), to the variable's name.
        unread: Whether the ``--config`` file could not be read. What seems to be missing may stand in it.
        wrong: The names of flags whose values are wrong. To look at one raises ``WrongValueError``.
        partial: The names of flags that take several items, some of which are wrong and left out.
    """

    read: Mapping[str, Any]
    given: Mapping[str, Any]
    variables: Mapping[str, str]
    unread: bool = False
    wrong: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Any:
        if name in self.wrong:
            raise WrongValueError(name)
        return self.read[name]


@overload
def flag(section: str, kind: Kind[Any], help: str, *, settle: Callable[[Values], T], **row: Any) -> T: ...
@overload
def flag(section: str, kind: One[T], help: str, *, default: str, **row: Any) -> T: ...
@overload
def flag(section: str, kind: One[T], help: str, **row: Any) -> T | None: ...
@overload
def flag(section: str, kind: Many[T] | Named[T], help: str, **row: Any) -> T: ...
@overload
def flag(section: str, kind: Switch, help: str, **row: Any) -> bool: ...
def flag(section: str, kind: Kind[Any], help: str, *, name: str = "", **row: Any) -> Any:
    """Declares a field of a dataclass as a flag.

    Args:
        section: As in ``Flag``, like all others.
        kind: What it takes.
        help: What it means.
        name: The flag's name; the field's unless given.
        **row: The rest of the ``Flag``.
    """
    made = Flag(name, "", section, kind, help, **row)
    return dataclasses.field(repr=not made.secret, metadata={_ROW: made})


def flags_of(table: type) -> tuple[Flag, ...]:
    """Returns the rows of a dataclass, its own before those that it inherits, and those of its parent before the rest."""
    inherited = collections.Counter(name for base in table.__mro__ for name in getattr(base, "__dataclass_fields__", ()))
    found = [
        dataclasses.replace(row, name=row.name or field.name, field=field.name)
        for field in dataclasses.fields(table)
        if (row := field.metadata.get(_ROW)) is not None
    ]
    return tuple(sorted(found, key=lambda row: inherited[row.field]))


def by_name(flags: Sequence[Flag]) -> dict[str, Flag]:
    """Returns the rows by flag name."""
    return {row.name: row for row in flags}
