"""Finds records that retention deleted before the group answered them, and makes the message for users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import confluent_kafka as ck

from transforms.kafka.start_from import GO_ON_WITHOUT
from transforms.printable import counted


class Deleted(NamedTuple):
    """Records of one partition that are gone.

    Attributes:
        topic: The topic.
        partition: The partition.
        committed: The group's committed offset: what lies before it was answered.
        earliest: The earliest offset there is.
    """

    topic: str
    partition: int
    committed: int
    earliest: int

    @property
    def records(self) -> int:
        """The number of deleted offsets, at most as many records."""
        return self.earliest - self.committed


def deleted_records(committed: Iterable[ck.TopicPartition], earliest: Mapping[tuple[str, int], int]) -> list[Deleted]:
    """Returns what was deleted, for each partition whose committed offset is below its earliest offset.

    Args:
        committed: The committed offsets; negative where there is none.
        earliest: Topic and partition to the earliest offset.
    """
    pairs = [(tp, earliest[tp.topic, tp.partition]) for tp in committed]
    return [Deleted(tp.topic, tp.partition, tp.offset, low) for tp, low in pairs if 0 <= tp.offset < low]


def message(deleted: Iterable[Deleted], group_id: str) -> str:
    """Returns the message for users: how many records in all, where, and how to go on without them."""
    deleted = list(deleted)
    where = "; ".join(
        f"{each.topic}/{each.partition}: {each.records:,} (committed {each.committed}, earliest {each.earliest})"
        for each in deleted
    )
    records = counted(sum(each.records for each in deleted), "record")
    return (
        f"retention has deleted {records} that group {group_id!r} had not answered: "
        f"{where}; to go on without them, {GO_ON_WITHOUT}"
    )
