"""Fields of ``--pass_through`` that no record of the sample has: each would be null in every prediction, without a word."""

from __future__ import annotations

import json

from transforms.formats.options import Paths
from transforms.types import DecodedChunk


def carried_lines(decoded: DecodedChunk, pass_through: Paths) -> list[str]:
    """Returns a line for each field of ``--pass_through`` that no record of the sample has.

    Args:
        decoded: The sample, as the run would decode it.
        pass_through: Output name to path.
    """
    members = [json.loads(b"{%b}" % text) for row, text in enumerate(decoded.carried or ()) if row not in decoded.failures]
    return [
        f"{name}: null in all {len(members):,} of the records read that fit: none has a value at {path}"
        for name, path in pass_through
        if members and all(document.get(name) is None for document in members)
    ]
