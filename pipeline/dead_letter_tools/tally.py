"""``Tally``: counts dead letters by stage and class, over time and by source topic, and keeps samples of each class."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

from transforms.kafka.dead_letters.letter import Letter

MINUTE_MS = 60_000

_SPANS = (1, 5, 15, 60, 240, 1440, 10_080)
"""Minutes of a bar; twice the last, four times, … where that is too little."""

MAX_BARS = 16


@dataclasses.dataclass(slots=True)
class Row:
    """The dead letters of one stage and class.

    Attributes:
        letters: How many there are.
        replayed: How many of them were replayed.
        first_ms: The earliest timestamp of their records.
        last_ms: The latest.
    """

    letters: int = 0
    replayed: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


class Tally:
    """Counts dead letters.

    Args:
        sample: How many to keep, some of every class.

    Attributes:
        rows: Stage and class to what there is.
        topics: The topics that they came from, with how many came.
    """

    def __init__(self, sample: int):
        self._sample = sample
        self.rows: dict[tuple[str, str], Row] = {}
        self.topics: Counter[str] = Counter()
        self._minutes: Counter[int] = Counter()
        self._kept: dict[tuple[str, str], list[Letter]] = {}

    def add(self, letter: Letter, *, replayed: bool = False) -> None:
        """Counts one."""
        kind = letter.stage, letter.error_class
        row = self.rows.setdefault(kind, Row())
        row.letters += 1
        row.replayed += replayed
        self.topics[letter.source[0]] += 1
        if (at := letter.timestamp_ms) is not None:
            row.first_ms = at if row.first_ms is None else min(row.first_ms, at)
            row.last_ms = at if row.last_ms is None else max(row.last_ms, at)
            self._minutes[at // MINUTE_MS] += 1
        kept = self._kept.setdefault(kind, [])
        if len(kept) < self._sample:
            kept.append(letter)

    @property
    def letters(self) -> int:
        """How many there are."""
        return sum(row.letters for row in self.rows.values())

    @property
    def replayed(self) -> int:
        """How many of them were replayed."""
        return sum(row.replayed for row in self.rows.values())

    def samples(self) -> list[Letter]:
        """Returns the samples: of each class the first, then of each the second, until there are enough."""
        kinds = list(self._kept.values())
        turns = [kept[turn] for turn in range(self._sample) for kept in kinds if turn < len(kept)]
        return turns[: self._sample]

    def bars(self) -> list[tuple[int, int]]:
        """Returns the counts over time: the beginning of each span in milliseconds, and how many records are of it."""
        if not self._minutes:
            return []
        for span in itertools.chain(_SPANS, (_SPANS[-1] << doubled for doubled in itertools.count(1))):
            bars: Counter[int] = Counter()
            for minute, count in self._minutes.items():
                bars[minute // span * span] += count
            if len(bars) <= MAX_BARS:
                break
        return [(minute * MINUTE_MS, count) for minute, count in sorted(bars.items())]
