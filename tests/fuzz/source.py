"""``Source``: choices, numbers and bytes from the fuzzer's bytes, so that a generator builds what is nearly valid."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_SMALL = (0, 1, 2, 3, 4, 8, 16)
_EDGES = (*_SMALL, -1, -2, 127, 128, 255, 256, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, -(1 << 63), 1 << 64, 1 << 70)


class Source:
    """Reads the fuzzer's bytes from the front; without any left, everything is the first choice, 0 or empty.

    Args:
        data: The bytes.
    """

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def byte(self) -> int:
        """The next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1; the limit is 256 or less."""
        return self.byte() % limit

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def chance(self, one_in: int) -> bool:
        """True once in so many times; never without bytes."""
        return self.byte() % one_in == one_in - 1

    def small(self) -> int:
        """A small number, as for lengths."""
        return self.pick(_SMALL)

    def edge(self) -> int:
        """A number at which something ends: of bits, of counts."""
        return self.pick(_EDGES)

    def number(self) -> float:
        """Any double, NaN and the infinities among them."""
        return float(struct.unpack("<d", self.take(8).ljust(8, b"\0"))[0])

    def take(self, most: int) -> bytes:
        """So many bytes, or all that are left."""
        found = self._data[self._at : self._at + most]
        self._at += most
        return found

    def text(self) -> str:
        """A short text; rarely a name that something else has, too."""
        if self.chance(4):
            return self.take(self.below(12)).decode("utf-8", "replace")
        return self.pick(("x", "y", "a", "b64", "", "é", "😀", "\x1b[31m", "__class__", "instances", "predictions"))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def mutated(self, made: bytes) -> bytes:
        """``made`` with a few bytes changed, left out, put in or repeated; often as it is."""
        if not self.chance(2):
            return made
        changed = bytearray(made)
        for _ in range(1 + self.below(4)):
            at = (self.byte() << 8 | self.byte()) % (len(changed) + 1)
            how, piece = self.below(4), self.take(1 + self.below(4))
            if how == 0:
                changed[at : at + len(piece)] = piece
            elif how == 1:
                changed[at:at] = piece
            elif how == 2:
                del changed[at : at + 1 + self.below(32)]
            else:
                changed[at:at] = changed[at : at + 16] * 8
        return bytes(changed)
