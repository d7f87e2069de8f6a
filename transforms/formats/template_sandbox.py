"""The sandbox of ``--prompt``: Jinja2's immutable one, and bounds on what a record can make a template cost.

The template is the user's own, the record is not. So what its values decide is bounded: how often loops run, how long a text
becomes, how large a number. Jinja2's sandbox keeps Python's inside from a template. Of the methods of values only those of
``_METHODS`` are there, and of Jinja2's filters those of ``_FILTERS``. None gives what is random, or of the time: a record
that is read again has the same prompt.

Imports Jinja2, which is optional: ``prompt.py`` imports this module where a prompt is asked for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from transforms.formats.casting import FieldMismatch

MOST_CHARACTERS = 1_000_000
"""The longest prompt, and the longest text on the way to it."""

MOST_STEPS = 100_000
"""How often the loops and calls of a template run for one record, all together."""

MOST_CPU_S = 5.0
"""The processor's time for one record: a round of a loop may go through all of another list."""

_MOST_BITS = 1_000
"""Of a number that is computed. JSON's have 64."""

_BUDGET = "\0budget"
"""Where a context keeps its ``TemplateBudget``: no template can write such a name."""

_COUNTED = "\0counted"

_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset((
        "capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdecimal", "isdigit", "islower",
        "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
        "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title",
        "upper",
    )),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
}  # fmt: skip
"""Methods whose result is no larger than the value."""

_FILTERS = (
    "abs", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last", "length", "list", "map",
    "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "truncate", "unique", "urlencode",
)  # fmt: skip
"""Filters of Jinja2's that are taken as they are."""

_OF_TEXT = ("capitalize", "lower", "title", "trim", "upper", "wordcount")
"""Filters that make text of any value: here as ``{{ … }}`` writes it."""

_UNSAFE = "not taken"

_WIDTH = re.compile(r"%(\([^)]*\))?[#0\- +]*(\*|\d{4,}|\d*\.(\*|\d{4,}))")
"""A width in a format that a value gives, or that is beyond 999."""


class TemplateBudget:
    """What a template may use for one record.

    Args:
        cpu_s: Returns the seconds that this thread has used the processor.
    """

    def __init__(self, cpu_s: Callable[[], float] = time.thread_time):
        self._cpu_s, self._until, self._steps = cpu_s, cpu_s() + MOST_CPU_S, 0

    def step(self) -> None:
        """Counts a round of a loop, or a call.

        Raises:
            FieldMismatch: It is one too many.
        """
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise FieldMismatch(f"the template's loops and calls run more than {MOST_STEPS:,} times for the record")
        if not self._steps % 64 and self._cpu_s() > self._until:
            raise FieldMismatch(f"the template takes longer than {MOST_CPU_S:g} s for the record")


class Environment(ImmutableSandboxedEnvironment):
    """The environment of one template.

    Args:
        names: Every name that the template has written in it; only these are said in messages.
    """

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, names: frozenset[object] = frozenset()):
        super().__init__(
            autoescape=False, loader=None, undefined=_missing(names), finalize=as_text, trim_blocks=True, lstrip_blocks=True
        )
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.filters = {name: FILTERS[name] for name in _FILTERS}
        self.filters |= {name: _of_text(name) for name in _OF_TEXT}
        self.filters |= {
            "format": _format,
            "indent": _indent,
            "join": _join,
            "replace": _replace,
            "round": _round,
            "sum": _sum,
        }
        self.filters |= {"string": as_text, "tojson": as_json, _COUNTED: counted}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``: of an object its field, before any method of this name (``order.items``)."""
        return obj[attribute] if type(obj) is dict and attribute in obj else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``: of an object a field and never a method."""
        if type(obj) is dict:
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> None:
        """Nothing is wrapped: ``str.format`` is not among the methods."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """As Jinja2's, with a message of our own."""
        return self.undefined(_UNSAFE, obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As Jinja2's; of the methods of values only those of ``_METHODS``."""
        if isinstance(obj, str | bytes | int | float | dict | list | tuple | np.generic | np.ndarray) and callable(value):
            return attr in _METHODS.get(type(obj), ())
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Counts the call: macros, and loops that call themselves, may run as long as loops do."""
        context.resolve(_BUDGET).step()
        if isinstance(called, LoopContext) and args:
            args = (counted(context, args[0]), *args[1:])
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuses what would become too large, before it is computed."""
        if operator == "%" and isinstance(left, str):
            _check_widths(left)
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(value, str | bytes | list | tuple) and isinstance(times, int):
                    _check(len(value) * times)
        if isinstance(left, int) and isinstance(right, int) and operator != "%":
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MOST_BITS:
                raise FieldMismatch("a number becomes too large")
        return super().call_binop(context, operator, left, right)


class Bounded(NodeTransformer):
    """Makes every loop of a template count its rounds, and ``~`` join texts as ``{{ … }}`` writes them."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  # Jinja2's name
        """Puts the count around what the loop goes through."""
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Concat:  # noqa: N802  # Jinja2's name
        """Makes the parts text."""
        self.generic_visit(node)
        node.nodes = [nodes.Filter(part, "string", [], [], None, None, lineno=node.lineno) for part in node.nodes]
        return node


def values_of(document: Any) -> dict[str, Any]:
    """Returns what a template sees of a record: its fields by name, and all of it as ``record``."""
    return {**(document if type(document) is dict else {}), "record": document, _BUDGET: TemplateBudget()}


@pass_context
def counted(context: Context, values: Any) -> Iterator[Any]:
    """Yields values, and counts them."""
    budget = context.resolve(_BUDGET)
    for value in values:
        budget.step()
        yield value


def as_text(value: Any) -> str:
    """Returns what ``{{ … }}`` writes of a value: a text as it is, a number's digits, of all else JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        raise FieldMismatch('a value is null; give one in its place: |default("none", true)')
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:  # its text quotes the value
            raise FieldMismatch(f"a value is no text: {len(value)} bytes that are no UTF-8") from None
    if isinstance(value, Undefined):
        return str(value)  # raises
    return as_json(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """``tojson``: JSON for a reader, with neither HTML's escapes nor the order changed."""
    if indent is not None and not 0 <= indent <= 8:
        raise FieldMismatch("tojson takes an indent of 0 to 8")
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return as_text(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, Iterator | type({}.values()) | type({}.keys()) | type({}.items())):  # of a filter, or a method
        return list(value)
    raise FieldMismatch("a value is none of a record: a function or a loop, not what it gives")


def _check(characters: int) -> None:
    if characters > MOST_CHARACTERS:
        raise FieldMismatch(f"the text becomes longer than {MOST_CHARACTERS:,} characters")


def _of_text(name: str) -> Callable[[Any], Any]:
    of_jinja = FILTERS[name]
    return lambda value, *args: of_jinja(as_text(value), *args)


def _check_widths(text: str) -> None:
    if _WIDTH.search(text):
        raise FieldMismatch("a format has a width that is not written out, or beyond 999")


def _format(text: str, *args: Any, **kwargs: Any) -> str:
    _check_widths(text)
    return text % (kwargs or args)


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    _check((text.count("\n") + 1) * (width if isinstance(width, int) else len(width)))
    return str(FILTERS["indent"](text, width, first, blank))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > 99:
        raise FieldMismatch("round takes a precision of -99 to 99")
    return float(FILTERS["round"](value, precision, method))


@pass_context
def _sum(context: Context, values: Iterable[Any], attribute: str | int | None = None) -> Any:
    """As Jinja2's, of numbers: lists would be copied for each that is added."""
    return FILTERS["sum"](context.environment, values, attribute)


@pass_context
def _join(context: Context, values: Iterable[Any], by: str = "", attribute: str | int | None = None) -> str:
    found = list(values if attribute is None else map(make_attrgetter(context.environment, attribute), values))
    _check(len(found) * len(by))
    return by.join(map(as_text, found))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    _check(text.count(old) * len(new))
    return text.replace(old, new, count)


def _missing(names: frozenset[object]) -> type[StrictUndefined]:
    """Returns the class of values that are not there. Its message names a field only if the template does."""

    class Missing(StrictUndefined):
        __slots__ = ()

        @property
        def _undefined_message(self) -> str:
            name: object = self._undefined_name  # of a list it is an index
            if self._undefined_hint == _UNSAFE:
                return f"{name}: a prompt may not use this" if name in names else "a prompt may not use this"
            if self._undefined_hint:  # of a filter or a loop: No first item, sequence was empty.
                return self._undefined_hint if name is None else "the template asks for what is not there"
            if isinstance(name, int):
                return f"a list has no [{name}]" if name in names else "a list has fewer values than the template asks for"
            known = name if name in names else "a field that another one names"
            return f'{known}: missing in the record; |default("…") puts something in its place'

    return Missing
