"""``Selection``: which records of the dead-letter topic are replayed, what they are restored to, and why others are not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from pipeline.dead_letter_tools.filters import is_meant
from pipeline.dead_letter_tools.flags import ReplayConfig
from transforms.kafka.dead_letters.ledger import SUFFIX, Place
from transforms.kafka.dead_letters.letter import NO_LETTER, Letter, read_letter, replayed, replays_of, restored
from transforms.types import KafkaRecord

Restored = tuple[Letter, KafkaRecord]
"""A dead letter, and the record to replay for it."""


@dataclasses.dataclass(slots=True)
class Counts:
    """What became of the records of the dead-letter topic.

    Attributes:
        read: How many were read.
        others: Those that the filters leave out, by class.
        before: Those that were replayed by an earlier run.
        replayed: Those that were replayed now; with ``--dry_run``, that would be.
        refused: Why a record is not replayed, to the number of such records.
        dead: With ``--score``: dead-letter class to the number of records that became dead letters again.
    """

    read: int = 0
    others: Counter[str] = dataclasses.field(default_factory=Counter)
    before: int = 0
    replayed: int = 0
    refused: Counter[str] = dataclasses.field(default_factory=Counter)
    dead: Counter[str] = dataclasses.field(default_factory=Counter)


class Selection:
    """Selects and restores dead letters.

    Args:
        config: The filters, and ``--max_attempts``.
        ledger: The dead letters that were replayed before.
        partitions: All topics with their partitions.
        originals: Reads input records again, by their sources (``Originals``).
        counts: Counted here, but for ``replayed`` and ``dead``.
    """

    def __init__(
        self,
        config: ReplayConfig,
        ledger: Container[Place],
        partitions: Mapping[str, Sequence[int]],
        originals: Any,
        counts: Counts,
    ):
        self._config, self._ledger, self._partitions = config, ledger, partitions
        self._originals, self.counts = originals, counts
        self._too_often = f"it was replayed as often as --max_attempts={config.max_attempts} allows"

    def of(self, records: Sequence[KafkaRecord], append_time: bool = False) -> list[Restored]:
        """Returns what to replay of these records, in their order.

        Args:
            records: Records of the dead-letter topic.
            append_time: Whether it sets timestamps itself.
        """
        letters = list(self._wanted(records, append_time))
        lost = {letter.source for letter in letters if letter.needs_original and self._is_there(letter)}
        originals = self._originals.read(lost) if lost else {}
        found = []
        for letter in letters:
            record = restored(letter, originals.get(letter.source))
            if not isinstance(record, str) and replays_of(record.headers) >= self._config.max_attempts:
                record = self._too_often
            if isinstance(record, str):
                self.counts.refused[record] += 1
            else:
                found.append((letter, replayed(letter, record)))
        return found

    def _wanted(self, records: Sequence[KafkaRecord], append_time: bool) -> Iterator[Letter]:
        counts = self.counts
        counts.read += len(records)
        for record in records:
            letter = read_letter(record, append_time)
            if letter is None:
                counts.refused[NO_LETTER] += 1
            elif not is_meant(self._config, letter):
                counts.others[letter.error_class] += 1
            elif letter.place in self._ledger:
                counts.before += 1
            elif (reason := self._reason_against(letter)) is not None:
                counts.refused[reason] += 1
            else:
                yield letter

    def _reason_against(self, letter: Letter) -> str | None:
        topic = letter.source[0]
        if letter.replays >= self._config.max_attempts:
            return self._too_often
        if self._config.score:
            return None
        if topic not in self._partitions:
            return f"{topic}, the topic that it came from, does not exist"
        if topic in (letter.record.topic, letter.record.topic + SUFFIX):
            return f"it came from {topic} itself, to which it would come back"
        return None

    def _is_there(self, letter: Letter) -> bool:
        topic, partition, _ = letter.source
        return partition in self._partitions.get(topic, ())
