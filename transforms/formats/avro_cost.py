"""What a value of an Avro schema may cost in memory, depth and time: proven from the schema, or else counted in the value.

fastavro's compiled reader has no limits: a value nested deep enough crashes the process (SIGSEGV, 1.13), and a few bytes may
stand for any number of values that take no bytes. So a value is read by it only if

* the schema proves that ``n`` bytes can't take more than ``a + r·n`` bytes of memory, and that is within the limit; or
* a walk over the value's bytes, which makes no objects, has counted what it takes.

The first holds for all but large values and recursive schemas, and costs one comparison.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from transforms.formats.limits import NUMBER_BYTES, VALUE_BYTES, too_large
from transforms.formats.varint import MalformedError, zigzag

MAX_DEPTH = 200
"""How deep records, arrays and maps may be nested in each other. More can't be sent on as JSON (``can_be_sent_on``)."""

MAX_FIXED_BYTES = (1 << 31) - 1
_FIELD_BYTES = 40  # of a dict's entry, without its value
_RATES = (1, 8, 32, 64, 256)  # bytes of memory for a byte of the value, tried in turn


class CostKind(enum.Enum):
    """How the bytes of a type are found."""

    FIXED, VARINT, ENUM, TEXT, RECORD, UNION, ARRAY, MAP = range(8)


@dataclasses.dataclass(eq=False, slots=True)
class Cost:
    """What a type costs.

    Attributes:
        kind: How its bytes are found.
        memory: Bytes of memory, without those of the parts; of a fixed type with them.
        width: How many bytes a value of a fixed type takes.
        depth: How deep it is nested, as far as the schema says.
        parts: The types of the fields, branches or items.
        choices: How many symbols an enum has.
        known: Whether all is known; false while the type is looked at.
    """

    kind: CostKind
    memory: int = 0
    width: int = 0
    depth: int = 0
    parts: list[Cost] = dataclasses.field(default_factory=list)
    choices: int = 0
    known: bool = True


_PRIMITIVES = {
    "null": Cost(CostKind.FIXED, 8),
    "boolean": Cost(CostKind.FIXED, 8, 1),
    "float": Cost(CostKind.FIXED, NUMBER_BYTES, 4),
    "double": Cost(CostKind.FIXED, NUMBER_BYTES, 8),
    "int": Cost(CostKind.VARINT, NUMBER_BYTES),
    "long": Cost(CostKind.VARINT, NUMBER_BYTES),
    "string": Cost(CostKind.TEXT, VALUE_BYTES),
    "bytes": Cost(CostKind.TEXT, VALUE_BYTES),
}


class UnboundedError(ValueError):
    """The values of a schema can't be bounded."""


class _UnprovenError(Exception):
    """The schema alone does not prove a bound."""


class SchemaCost:
    """What values of one schema cost.

    Args:
        schema: The schema, as ``fastavro.parse_schema`` returns it.
        named: Its named types, from the same call.

    Attributes:
        has_choices: Whether it has unions or enums.

    Raises:
        UnboundedError: Values may be endless, or are nested too deeply.
    """

    def __init__(self, schema: Any, named: Mapping[str, Any]):
        self._named = named
        self._types: dict[str, Cost] = {}
        self._recursive = False
        self.has_choices = False
        self._root = self._type(schema)
        self._bounds = [] if self._recursive else [(rate, at) for rate in _RATES if (at := self._excess(rate)) is not None]

    def proven_bytes(self, max_bytes: int) -> int:
        """Returns the most bytes for which the schema proves that a value takes ``max_bytes`` of memory or less.

        -1 where it proves nothing.
        """
        return max([(max_bytes - max(at, 0)) // rate for rate, at in self._bounds if at <= max_bytes], default=-1)

    def count(self, value: bytes, start: int, max_bytes: int) -> None:
        """Counts what the datum in ``value`` takes, from ``start`` on.

        Raises:
            MalformedError: It is not of the schema, is nested too deeply, or takes more than ``max_bytes``.
        """
        _Walk(value, max_bytes).over(self._root, start, 0)

    def _type(self, node: Any) -> Cost:
        if isinstance(node, list):
            self.has_choices = True
            parts = [self._type(part) for part in node]
            return Cost(CostKind.UNION, depth=max([part.depth for part in parts], default=0), parts=parts)
        if isinstance(node, str):
            return self._named_type(node, self._named[node]) if node in self._named else _PRIMITIVES[node]
        kind = node["type"]
        if kind in ("record", "error", "fixed", "enum"):
            return self._named_type(node["name"], node)
        if kind in ("array", "map"):
            item = self._type(node["items" if kind == "array" else "values"])
            if kind == "array" and item.kind is CostKind.FIXED and item.width == 0:
                # A few bytes can announce 2**62 items of no bytes each; reading them would never end.
                raise UnboundedError("the schema has arrays of items that take no bytes, so their length has no limit")
            return _deep(
                Cost(CostKind.ARRAY if kind == "array" else CostKind.MAP, VALUE_BYTES, depth=1 + item.depth, parts=[item])
            )
        return self._type(kind)

    def _named_type(self, name: str, node: Any) -> Cost:
        found = self._types.get(name)
        if found is not None:
            self._recursive = self._recursive or not found.known
            return found
        if node["type"] == "enum":
            self.has_choices = True
            made = Cost(CostKind.ENUM, 8, choices=len(node["symbols"]))
        elif node["type"] == "fixed":
            size = node["size"]
            if type(size) is not int or not 0 <= size <= MAX_FIXED_BYTES:
                raise UnboundedError(f"the size of '{name[:40]}' (fixed) is not a whole number from 0 to {MAX_FIXED_BYTES}")
            made = Cost(CostKind.FIXED, VALUE_BYTES + size, size)
        else:
            made = self._types[name] = Cost(CostKind.RECORD, known=False)
            made.parts = [self._type(field["type"]) for field in node["fields"]]
            made.memory = VALUE_BYTES + _FIELD_BYTES * len(made.parts)
            made.depth = 1 + max([part.depth for part in made.parts], default=0)
            if all(part.kind is CostKind.FIXED for part in made.parts):
                made.kind = CostKind.FIXED
                made.memory += sum(part.memory for part in made.parts)
                made.width = sum(part.width for part in made.parts)
            made.known = True
        self._types[name] = made
        return _deep(made)

    def _excess(self, rate: int) -> int | None:
        """The least ``a`` so that a value of ``n`` bytes takes at most ``a + rate·n`` of memory; ``None`` if there is none.

        It may be below 0: a value takes some bytes, and each of them counts ``rate``.
        """
        known: dict[int, int] = {}

        def excess(of: Cost) -> int:
            if id(of) not in known:
                known[id(of)] = _compute(of)
            return known[id(of)]

        def _compute(of: Cost) -> int:
            if of.kind is CostKind.FIXED:
                return of.memory - rate * of.width
            if of.kind is CostKind.RECORD:
                return of.memory + sum(map(excess, of.parts))
            if of.kind is CostKind.UNION:
                return max(map(excess, of.parts), default=0) - rate
            if of.kind is CostKind.ARRAY and excess(of.parts[0]) > 0:
                raise _UnprovenError
            if of.kind is CostKind.MAP and excess(of.parts[0]) + _FIELD_BYTES + VALUE_BYTES - rate > 0:
                raise _UnprovenError
            return of.memory - rate  # at least one byte: a number, a length, or a count

        try:
            return excess(self._root)
        except _UnprovenError:
            return None


def _deep(made: Cost) -> Cost:
    if made.depth > MAX_DEPTH:
        raise UnboundedError(f"the schema is nested too deeply: {MAX_DEPTH} records, arrays and maps are allowed")
    return made


class _Walk:
    """A walk over the bytes of a value."""

    def __init__(self, value: bytes, max_bytes: int):
        self._value, self._end = value, len(value)
        self._max_bytes = self._left = max_bytes

    def over(self, cost: Cost, at: int, depth: int) -> int:
        """Returns where a value of this type ends that begins at ``at``."""
        value = self._value
        while cost.kind is CostKind.UNION:
            index, at = zigzag(value, at)
            if not 0 <= index < len(cost.parts):
                raise MalformedError("a union has no branch of its number")
            cost = cost.parts[index]
        kind = cost.kind
        self._pay(cost.memory)
        if kind is CostKind.FIXED:
            if depth + cost.depth > MAX_DEPTH:
                raise MalformedError("it is nested too deeply")
            return self._within(at, cost.width)
        if kind is CostKind.VARINT:
            return zigzag(value, at)[1]
        if kind is CostKind.ENUM:
            index, at = zigzag(value, at)
            if not 0 <= index < cost.choices:
                raise MalformedError("an enum has no symbol of its number")
            return at
        if kind is CostKind.TEXT:
            return self._text(at)
        depth += 1
        if depth > MAX_DEPTH:
            raise MalformedError("it is nested too deeply")
        if kind is CostKind.RECORD:
            for part in cost.parts:
                at = self.over(part, at, depth)
            return at
        return self._blocks(cost, at, depth)

    def _blocks(self, cost: Cost, at: int, depth: int) -> int:
        [item] = cost.parts
        while True:
            count, at = zigzag(self._value, at)
            if count == 0:
                return at
            ends: int | None = None
            if count < 0:  # the block's size in bytes follows, for readers that skip it
                size, at = zigzag(self._value, at)
                count, ends = -count, at + size
            if cost.kind is CostKind.ARRAY and item.kind is CostKind.FIXED:
                self._pay(count * item.memory)
                at = self._within(at, count * item.width)
            else:
                for _ in range(count):  # each takes a byte or more
                    if cost.kind is CostKind.MAP:
                        self._pay(_FIELD_BYTES + VALUE_BYTES)
                        at = self._text(at)
                    at = self.over(item, at, depth)
            if ends is not None and ends != at:
                raise MalformedError("a block of an array or map has another size than it says")

    def _text(self, at: int) -> int:
        size, at = zigzag(self._value, at)
        if size < 0:
            raise MalformedError("a length is below 0")
        self._pay(size)
        return self._within(at, size)

    def _within(self, at: int, size: int) -> int:
        if size > self._end - at:
            raise MalformedError("it is cut short")
        return at + size

    def _pay(self, memory: int) -> None:
        self._left -= memory
        if self._left < 0:
            raise MalformedError(too_large("it", self._max_bytes))
