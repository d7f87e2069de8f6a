"""What ``--start_from`` commits in place of a group's offsets."""

from __future__ import annotations

from typing import Any

import confluent_kafka as ck

from transforms.kafka.admin import start_over
from transforms.kafka.admin.checks import Checker
from transforms.kafka.config import KafkaConfig


def test_moved_offsets_keep_the_claims() -> None:
    """The next shard fences whoever has claimed the partition: it might commit where it was over the moved offset."""
    made: list[Any] = []
    checker: Any = object.__new__(Checker)
    committed = [
        ck.TopicPartition("in", 0, 5, "read by g-1 | of a@c | started from latest"),
        ck.TopicPartition("in", 1, ck.OFFSET_INVALID),
    ]
    checker.config = KafkaConfig("memory:9092", ("in",), "g")
    checker.committed, checker.watermarks = lambda _: committed, lambda _: (0, 9)
    checker.commit = made.extend
    move = start_over.planned(checker, [("in", 0), ("in", 1)], "earliest")
    assert start_over.make(checker, move) == ("latest", "earliest")
    assert [(tp.partition, tp.offset, tp.metadata) for tp in made] == [
        (0, 0, "read by g-1 | started from latest, earliest"),
        (1, 0, "started from latest, earliest"),
    ]


def test_only_partitions_whose_committed_offset_is_gone_move() -> None:
    """``earliest`` would read again what was answered of all others."""
    checker: Any = object.__new__(Checker)
    offsets = [4, 6, ck.OFFSET_INVALID, 9, 10]  # deleted, there, none yet, at the end, beyond the end
    committed = [ck.TopicPartition("in", number, offset, "") for number, offset in enumerate(offsets)]
    checker.committed, checker.watermarks = lambda _: committed, lambda _: (5, 9)
    partitions = [("in", number) for number in range(len(offsets))]
    move = start_over.planned(checker, partitions, "committed_or_earliest")
    assert [tp.offset for tp in move.offsets] == [5, 6, 5, 9, 5]
    assert (move.again, move.skipped) == (4, 0), "of the one beyond the end, where the topic was made again"
