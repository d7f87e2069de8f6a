"""The values of records by the path at which ``--features`` finds them, also through JSON in text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from transforms.formats.codecs import JsonError, parse_json
from transforms.json_kinds import is_b64

MAX_LEAVES = 500
"""The most paths that are looked at: a stranger's records may have any number."""
MAX_DEPTH = 8
MAX_JSON_BYTES = 1 << 20
"""The longest text that is tried as JSON."""

_PLAIN = re.compile(r"""[^.\[\]'"$*\s,=|(){}\\]+""")
_QUOTED = str.maketrans({"'": "\\'", "\\": "\\\\"})

Names = tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """The values at one path.

    Attributes:
        parts: The names that lead to it; a new part where text is read as JSON.
        values: Its values, without null.
    """

    parts: tuple[Names, ...]
    values: list[Any]

    @property
    def names(self) -> Names:
        """All names that lead to it."""
        return tuple(name for part in self.parts for name in part)

    @property
    def parent(self) -> tuple[Names, ...]:
        """The parts that lead to the object that it is a field of."""
        return (*self.parts[:-1], self.parts[-1][:-1])

    @property
    def path(self) -> str:
        """The source, as ``--features`` takes it."""
        return "|json|".join("$" + "".join(map(_step, part)) for part in self.parts)


def leaves_of(documents: Sequence[Any]) -> list[Leaf]:
    """Returns what is neither an object nor null, by its path, in the order of the first record that has it."""
    found: dict[tuple[Names, ...], Leaf] = {}
    for document in documents:
        for parts, value in _walk(document, ((),), 0):
            if parts in found:
                found[parts].values.append(value)
            elif len(found) < MAX_LEAVES:
                found[parts] = Leaf(parts, [value])
    return list(found.values())


def _walk(value: Any, parts: tuple[Names, ...], depth: int) -> Iterator[tuple[tuple[Names, ...], Any]]:
    if depth > MAX_DEPTH or value is None:
        return
    if type(value) is dict and not is_b64(value):
        for name, inner in value.items():
            yield from _walk(inner, (*parts[:-1], (*parts[-1], name)), depth + 1)
        return
    yield parts, value
    if (inside := _json_object(value)) is not None:
        yield from _walk(inside, (*parts, ()), depth + 1)


def _json_object(value: Any) -> dict[str, Any] | None:
    """Returns the object that a text holds as JSON; ``None`` if it holds none."""
    if type(value) not in (str, bytes) or len(value) > MAX_JSON_BYTES or value.lstrip()[:1] not in ("{", b"{"):
        return None
    try:
        inside = parse_json(value if type(value) is bytes else value.encode())
    except (JsonError, UnicodeEncodeError):
        return None
    return inside if type(inside) is dict else None


def _step(name: str) -> str:
    return f".{name}" if _PLAIN.fullmatch(name) else f"['{name.translate(_QUOTED)}']"
