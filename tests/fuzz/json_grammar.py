"""JSON texts, valid and nearly so: nesting, numbers and strings at the edges of what parsers take."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.fuzz.source import Source

_ATOMS = (
    *(b"0", b"1", b"-1", b"true", b"false", b"null", b'""', b'"x"', b"0.5", b"NaN", b"-Infinity", b"Infinity", b"1e400"),
    *(b"-0", b"1E-400", b"01", b".5", b"1.", b"+1", b"0x1", b"18446744073709551616", b"9" * 5000, b"1e", b"'x'", b"\xff"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\\x"', b'"\xed\xa0\x80"', b'{"b64":"AA=="}', b'{"b64":"*"}', b'{"b64":1}'),
    *(b"[" * 2000, b'{"a":' * 2000, b"[[[[1]]]]", b"/*c*/1", b"\xef\xbb\xbf1", b"1 2", b"", b"[1,]", b'{"a":1,"a":2}'),
)


def text_of(source: Source, names: Sequence[str], depth: int = 5) -> bytes:
    """A JSON text.

    Args:
        source: The choices.
        names: Names of fields that the reader knows.
        depth: How deep it may be nested.
    """
    kind = source.below(8) if depth else 0
    if kind in (0, 1):
        return source.pick(_ATOMS)
    if kind == 2:
        return repr(source.number()).encode() if source.chance(2) else str(source.edge()).encode()
    if kind == 3:
        return json.dumps(source.text()).encode()
    count = source.below(5)
    if kind in (4, 5):
        items = [text_of(source, names, depth - 1)] * count if source.chance(2) else []
        return b"[%b]" % b",".join(items or [text_of(source, names, depth - 1) for _ in range(count)])
    members = []
    for _ in range(count):
        name = source.pick(names) if names and not source.chance(6) else source.text()
        members.append(json.dumps(name).encode() + b":" + text_of(source, names, depth - 1))
    return b"{%b}" % b",".join(members)
