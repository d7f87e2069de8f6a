"""``Ledger``: which dead letters were replayed, in a compacted topic next to the dead-letter topic.

    key      TOPIC_ID/PARTITION/BLOCK      the id of the dead-letter topic, so that a topic made anew has a ledger of its own
    value    1,024 bytes                   a bit for each of 8,192 offsets: set once that dead letter was replayed

Entries are written in the transaction of the replayed records. As the topic is compacted, it holds a bit for each dead
letter and no more. Committed offsets would not do: a run with another filter goes back to what the first one skipped, and
Kafka forgets the offsets of a group without members after a week (``offsets.retention.minutes``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from transforms.errors import KafkaError
from transforms.types import KafkaRecord

SUFFIX = ".replayed"
"""What a ledger's topic is called, behind the name of the dead-letter topic."""

BLOCK_OFFSETS = 8192
_BLOCK_BYTES = BLOCK_OFFSETS // 8

Place = tuple[int, int]
"""Partition and offset of a dead letter."""


class Ledger:
    """The dead letters of one topic that were replayed.

    Args:
        topic_id: The id that Kafka gave the dead-letter topic.
    """

    def __init__(self, topic_id: str):
        self._topic_id = topic_id
        self._blocks: dict[tuple[int, int], int] = {}

    def __contains__(self, place: object) -> bool:
        assert isinstance(place, tuple)
        partition, offset = place
        return bool(self._blocks.get((partition, offset // BLOCK_OFFSETS), 0) >> offset % BLOCK_OFFSETS & 1)

    def __len__(self) -> int:
        return sum(block.bit_count() for block in self._blocks.values())

    def read(self, records: Iterable[KafkaRecord]) -> None:
        """Takes over entries of the topic; a later one replaces an earlier one of its key.

        Raises:
            KafkaError: The topic holds something else.
        """
        for record in records:
            match (record.key or b"").decode("utf-8", "replace").rsplit("/", 2):  # an id has slashes, too: it is base64
                case [topic_id, partition, block] if partition.isdecimal() and block.isdecimal():
                    if record.value is None or len(record.value) != _BLOCK_BYTES:
                        raise _no_entry(record)
                    if topic_id == self._topic_id:
                        self._blocks[int(partition), int(block)] = int.from_bytes(record.value, "little")
                case _:
                    raise _no_entry(record)

    def entries(self, places: Collection[Place]) -> list[tuple[bytes, bytes]]:
        """Returns the keys and values to write so that ``places`` count as replayed, too. Changes nothing here."""
        return [
            (f"{self._topic_id}/{partition}/{block}".encode(), bits.to_bytes(_BLOCK_BYTES, "little"))
            for (partition, block), bits in sorted(self._with(places).items())
        ]

    def add(self, places: Collection[Place]) -> None:
        """Notes what was committed."""
        self._blocks.update(self._with(places))

    def _with(self, places: Collection[Place]) -> dict[tuple[int, int], int]:
        changed: dict[tuple[int, int], int] = {}
        for partition, offset in places:
            block = partition, offset // BLOCK_OFFSETS
            bits = changed.get(block, self._blocks.get(block, 0))
            changed[block] = bits | 1 << offset % BLOCK_OFFSETS
        return changed


def _no_entry(record: KafkaRecord) -> KafkaError:
    return KafkaError(
        f"{record.topic}/{record.partition}/{record.offset}: is no entry of the ledger of replayed dead letters; has "
        "another program written to that topic?"
    )
